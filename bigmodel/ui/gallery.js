// Pictures to choose from, each a button.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  const root = parentElement.querySelector(".gallery")
  root.setAttribute("aria-label", data.label)
  const wanted = data.pictures.map(picture => picture.src).join()
  if (root.dataset.wanted !== wanted) {
    root.dataset.wanted = wanted
    root.replaceChildren(
      ...data.pictures.map(picture => {
        const button = document.createElement("button")
        const image = document.createElement("img")
        image.src = picture.src
        image.alt = ""
        button.append(image)
        return button
      }),
    )
  }
  ;[...root.children].forEach((button, number) => {
    button.setAttribute("aria-label", data.pictures[number].alt)
    button.setAttribute("aria-pressed", String(number === data.chosen))
    button.onclick = () => setTriggerValue("picked", number)
  })
}
