// Live updates. Pages work without them.
(() => {
  'use strict'
  const events = document.querySelector('[data-events]')
  if (events) {
    const source = new EventSource(events.dataset.events)
    const show = (e) => {
      const texts = JSON.parse(e.data)
      for (const node of document.querySelectorAll('[data-live]')) {
        const name = node.dataset.live
        if (!(name in texts)) continue
        if (name === 'percent') { // -1: nobody knows how many there will be
          node.hidden = texts[name] === '-1'
          node.value = Math.max(0, Number(texts[name]))
          continue
        }
        node.textContent = texts[name].replace('_', ' ')
        if (name === 'state') node.className = 'state ' + texts[name]
      }
    }
    source.addEventListener('progress', show)
    source.addEventListener('end', (e) => { source.close(); show(e); location.reload() })
    // The answer to a form is the next page. Loading this one anew would lose it: a run that is
    // cancelled can end before the answer is there.
    document.addEventListener('submit', () => source.close())
  }
  const seconds = Number(document.body.dataset.refresh)
  if (seconds) {
    // A page renews its marked parts, or all of it.
    const marked = [...document.querySelectorAll('[data-renew]')]
    const parts = marked.length ? marked : [document.getElementById('main')]
    const used = (part) => { // somebody is reading, typing or selecting there
      const selection = getSelection()
      return document.hidden || part.contains(document.activeElement) || (!selection.isCollapsed && part.contains(selection.anchorNode))
    }
    setInterval(async () => {
      if (parts.every(used)) return
      try {
        const answer = await fetch(location.href)
        if (!answer.ok) return
        const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
        for (const part of parts) {
          const next = page.getElementById(part.id)
          if (next && !used(part)) part.replaceChildren(...next.childNodes)
        }
      } catch { /* the server is away: the page stays as it is */ }
    }, seconds * 1000)
  }
})()
