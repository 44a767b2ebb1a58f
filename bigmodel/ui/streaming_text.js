// Text as it is being written: only what is new is put into the page, so nothing flickers and marks stay.
export default function (component) {
  const { data, parentElement } = component
  const root = parentElement.querySelector(".prose")
  root.lang = data.language
  root.querySelector(".prompt").textContent = data.prompt
  const text = root.querySelector(".text")
  if (text.textContent !== data.text) {
    const last = text.lastChild
    if (last && data.text.startsWith(text.textContent)) last.appendData(data.text.slice(text.textContent.length))
    else text.textContent = data.text
  }
  root.querySelector(".caret").hidden = data.done
  root.setAttribute("aria-busy", String(!data.done))
}
