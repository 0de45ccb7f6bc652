"""The demo shop's pages: plain HTML from plain values. No database and no HTTP in here."""

from html import escape

STYLE = """
:root { --ink:#1d2733; --soft:#5b6b7c; --line:#e3e8ee; --back:#f6f8fa; --brand:#0b6e5f; --warn:#fff4d6; --warnline:#e5b93c }
* { box-sizing:border-box }
body { margin:0; font:16px/1.55 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif; color:var(--ink); background:var(--back) }
a { color:var(--brand); text-decoration:none } a:hover { text-decoration:underline }
header { background:#fff; border-bottom:1px solid var(--line) }
header div, main, footer { max-width:64rem; margin:0 auto; padding:1rem 1.25rem }
header div { display:flex; gap:1.5rem; align-items:center; flex-wrap:wrap }
header .name { font-weight:700; font-size:1.2rem; color:var(--ink); margin-right:auto }
form.search { display:flex; gap:.5rem }
input, textarea { font:inherit; padding:.45rem .6rem; border:1px solid #c3ccd6; border-radius:.4rem; width:100%; background:#fff }
textarea { min-height:5rem }
button { font:inherit; padding:.45rem .9rem; border:0; border-radius:.4rem; background:var(--brand); color:#fff; cursor:pointer }
button:disabled, input:disabled, textarea:disabled { opacity:.55; cursor:not-allowed }
.notice { background:var(--warn); border-bottom:1px solid var(--warnline) }
.notice p { max-width:64rem; margin:0 auto; padding:.6rem 1.25rem }
.grid { display:grid; grid-template-columns:repeat(auto-fill,minmax(14rem,1fr)); gap:1rem; padding:0; list-style:none }
.card { background:#fff; border:1px solid var(--line); border-radius:.6rem; padding:1rem }
.card h1 { margin:.2rem 0 .6rem } .card h2 { font-size:1.02rem; margin:0 0 .35rem }
.price { font-weight:600 } .soft { color:var(--soft); font-size:.88rem }
.sku { font:.8rem ui-monospace,"DejaVu Sans Mono",monospace; background:#e7f4f1; color:var(--brand); padding:.1rem .4rem; border-radius:.3rem }
.comment { border-top:1px solid var(--line); padding:.7rem 0 } .comment p { margin:.15rem 0 0; white-space:pre-wrap }
nav.pages { display:flex; gap:1rem; margin:1.5rem 0 } form.comment-form { display:grid; gap:.6rem; max-width:36rem }
footer { color:var(--soft); font-size:.85rem }
"""


def layout(title, body, notice=None):
    bar = f'<div class="notice" role="status"><p>{escape(notice)}</p></div>' if notice else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)} · Corner Shop</title><style>{STYLE}</style></head><body>
<header><div><a class="name" href="/">Corner Shop</a>
<form class="search" method="post" action="/search"><input name="q" placeholder="Search articles" aria-label="Search articles">
<button>Search</button></form></div></header>{bar}
<main>{body}</main>
<footer>A demo site. Its browsers come through Lull's HTTP port and its SQL goes through Lull's PostgreSQL port.</footer>
</body></html>"""


def sku(article):
    """The column that the migration adds: shown as soon as there is one."""
    return f'<span class="sku">{escape(article["sku"])}</span>' if "sku" in article else ""


def card(article):
    return (f'<li class="card"><h2><a href="/article/{article["id"]}">{escape(article["title"])}</a></h2>'
            f'<span class="price">€ {article["price"]}</span> {sku(article)}</li>')


def article_list(articles, page, notice):
    previous = f'<a href="/?page={page - 1}">← Previous</a>' if page > 1 else ""
    following = f'<a href="/?page={page + 1}">Next →</a>' if articles else ""
    cards = "".join(map(card, articles))
    return layout(f"Articles, page {page}",
                  f'<h1>Articles</h1><ul class="grid">{cards}</ul><nav class="pages">{previous}{following}</nav>', notice)


def search_results(query, articles, notice):
    found = f"{len(articles)} found" if articles else "Nothing found"
    return layout(f"Search: {query}",
                  f'<h1>Search: {escape(query)}</h1><p class="soft">{found}</p><ul class="grid">{"".join(map(card, articles))}</ul>',
                  notice)


def article(article, counters, comments, token, notice):
    listed = "".join(f'<div class="comment"><strong>{escape(c["author"])}</strong> '
                     f'<span class="soft">{c["written_at"]:%-d %B %Y, %H:%M}</span><p>{escape(c["body"])}</p></div>'
                     for c in comments) or '<p class="soft">No comments yet.</p>'
    closed = " disabled" if notice else ""
    return layout(article["title"], f"""
<article class="card"><h1>{escape(article["title"])}</h1><p>{escape(article["description"])}</p>
<p><span class="price">€ {article["price"]}</span> {sku(article)}</p>
<p class="soft">Seen {counters["views"]} times, sold {counters["sold"]} times</p></article>
<h2>Comments</h2>{listed}
<h2>Write one</h2><form class="comment-form" method="post" action="/article/{article["id"]}/comments">
<input type="hidden" name="token" value="{escape(token)}">
<input name="author" placeholder="Your name" aria-label="Your name" maxlength="80" required{closed}>
<textarea name="body" placeholder="Your comment" aria-label="Your comment" maxlength="2000" required{closed}></textarea>
<div><button{closed}>Post comment</button></div></form>""", notice)


def message(title, text, notice=None):
    return layout(title, f"<h1>{escape(title)}</h1><p>{escape(text)}</p>", notice)
