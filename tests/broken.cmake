# Programs in which what LULL_BREAK names is broken, to show that the tests notice: the same objects as always but for the few
# sources with break points, which are compiled again.
#   add_broken_executable(NAME LIBRARY SOURCE...)   LIBRARY brings the rest: lull_proxy, or lull_proxy_cores alone
function(lull_break_sources result)
  set(found "")
  foreach(folder routing proxy)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
    foreach(source ${sources})
      file(STRINGS ${source} uses REGEX "#include \"routing/break_points.hpp\"")
      if(uses)
        list(APPEND found ${source})
      endif()
    endforeach()
  endforeach()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

function(add_broken_executable name library)
  lull_break_sources(sources)
  if(library STREQUAL "lull_proxy_cores")  # pure: without the drivers
    list(FILTER sources INCLUDE REGEX "/routing/|_core\\.cpp$")
  endif()
  add_executable(${name} ${ARGN} ${sources})
  target_compile_definitions(${name} PRIVATE LULL_BREAK)
  target_link_libraries(${name} PRIVATE ${library})
endfunction()
