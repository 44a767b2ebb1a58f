// The layers of a network as boxes under each other, one list for each column.

function element(tag, kind, text) {
  const made = document.createElement(tag)
  made.className = kind
  if (text !== undefined) made.textContent = text
  return made
}

function box(layer) {
  const item = element("li", layer.times > 1 ? "layer many" : "layer")
  item.append(element("span", "label", layer.label))
  if (layer.detail) item.append(element("span", "detail", layer.detail))
  if (layer.times > 1) item.append(element("span", "times", `× ${layer.times}`))
  return item
}

export default function (component) {
  const { data, parentElement } = component
  const root = parentElement.querySelector(".network")
  root.setAttribute("aria-label", data.alt)
  root.replaceChildren(
    ...data.columns.map((layers, number) => {
      const column = element("div", "column")
      if (data.titles[number]) column.append(element("div", "title", data.titles[number]))
      const list = element("ol", "layers")
      list.append(...layers.map(box))
      column.append(list)
      return column
    }),
  )
}
