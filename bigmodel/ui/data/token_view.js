// Each token in a box of its own colour; spaces and line ends get a sign, as they are tokens too.
const MARKS = { "\n": "⏎", "\r": "␍", "\t": "⇥" }

function spelled(text) {
  const pieces = []
  for (const sign of text) {
    const last = pieces[pieces.length - 1]
    const mark = MARKS[sign]
    if (mark) pieces.push({ mark: true, text: mark, after: sign === "\n" ? "\n" : "" })
    else if (last && !last.mark) last.text += sign
    else pieces.push({ mark: false, text: sign, after: "" })
  }
  return pieces
}

function box(token, number, names) {
  const [text, id, kind] = token
  const made = document.createElement("span")
  made.className = `token ${kind}${number % 2 ? " odd" : ""}`
  made.title = `${id} · ${names[kind] ?? kind}`
  if (!text) made.textContent = "∅"
  else if (!text.trim() && !/[\n\r\t]/.test(text)) made.textContent = "␣".repeat(text.length)
  else
    for (const piece of spelled(text)) {
      const part = document.createElement("span")
      if (piece.mark) part.className = "mark"
      part.textContent = piece.text + piece.after
      made.append(part)
    }
  return made
}

// Padding is counted, not drawn a hundred times.
function gathered(tokens) {
  const shown = []
  for (const token of tokens) {
    const last = shown[shown.length - 1]
    if (token[2] === "padding" && last && last.kind === "padding") last.times += 1
    else shown.push({ token, kind: token[2], times: 1 })
  }
  return shown
}

export default function (component) {
  const { data, parentElement } = component
  const root = parentElement.querySelector(".tokens")
  root.setAttribute("aria-label", data.alt)
  const wanted = JSON.stringify(data)
  if (root.dataset.wanted === wanted) return
  root.dataset.wanted = wanted
  root.replaceChildren(
    ...gathered(data.tokens).map(({ token, times }, number) => {
      const made = box(token, number, data.names)
      if (times > 1) made.append(` × ${times}`)
      return made
    }),
  )
}
