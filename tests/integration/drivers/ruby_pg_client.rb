require 'pg'

tls = ENV['TLS'] == '1' ? { sslmode: 'verify-full', sslrootcert: ENV['CA'] } : { sslmode: 'disable' }
DB = PG.connect(host: 'localhost', port: ENV['PORT'], user: 'app', password: ENV['PASSWORD'], dbname: 'shop', **tls)

def step(name)
  puts name
  $stdout.flush
  $stdin.gets
end

def one(sql, values = []) = DB.exec_params(sql, values).getvalue(0, 0)

def code
  yield
  nil
rescue PG::Error => e
  e.result&.error_field(PG::PG_DIAG_SQLSTATE)
end

def check(holds, what) = holds || raise(what)

DB.prepare('twice', 'SELECT $1::int * 2')
20.times { |n| check(DB.exec_prepared('twice', [n]).getvalue(0, 0) == (2 * n).to_s, 'prepared') }
begin
  DB.transaction do
    DB.exec_params("INSERT INTO driver_rows VALUES ('ruby-pg', $1)", [1])
    raise IndexError
  end
rescue IndexError
  check(one("SELECT count(*) FROM driver_rows WHERE driver = 'ruby-pg'") == '0', 'rolled back')
end
DB.transaction { DB.exec_params("INSERT INTO driver_rows VALUES ('ruby-pg', $1)", [1]) }
DB.exec('BEGIN')
check(code { DB.exec('SELECT 1 / 0') } == '22012', 'division')
check(code { DB.exec('SELECT 1') } == '25P02', 'failed block')
DB.exec('ROLLBACK')
DB.copy_data('COPY driver_rows FROM STDIN') { 1000.times { |n| DB.put_copy_data("ruby-pg\t#{n}\n") } }
lines = 0
DB.copy_data("COPY (SELECT * FROM driver_rows WHERE driver = 'ruby-pg') TO STDOUT") { lines += 1 while DB.get_copy_data }
check(lines == 1001, 'copy')
Thread.new { sleep 0.5; DB.cancel }
check(code { DB.async_exec('SELECT pg_sleep(30)') } == '57014', 'cancelled')
step('restart')
check(one('SELECT 1') == '1', 'after the restart')
step('seal')
check(one("SELECT count(*) FROM driver_rows WHERE driver = 'ruby-pg'") == '1001', 'read while sealed')
check(code { DB.exec("INSERT INTO driver_rows VALUES ('ruby-pg', 2)") } == '25006', 'refused')
step('open')
DB.exec_params("INSERT INTO driver_rows VALUES ('ruby-pg', $1)", [2])
puts 'done'
