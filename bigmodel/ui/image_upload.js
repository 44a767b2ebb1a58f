// A picture from the disk: chosen, or dropped on the field. Sent as it is; the server checks it.

export default function (component) {
  const { data, parentElement, setStateValue } = component
  const field = parentElement.querySelector(".upload")
  const input = parentElement.querySelector("input")
  parentElement.querySelector(".button").textContent = data.choose
  parentElement.querySelector(".hint").textContent = data.hint
  const said = parentElement.querySelector(".said")
  input.setAttribute("aria-label", data.choose)
  if (!said.textContent) said.textContent = data.name

  const take = file => {
    if (!file) return
    if (file.size > data.limit) {
      said.textContent = data.tooLarge
      return
    }
    said.textContent = file.name
    const reader = new FileReader()
    reader.onload = () => setStateValue("file", { name: file.name, data: reader.result })
    reader.readAsDataURL(file)
  }
  input.onchange = () => take(input.files[0])
  field.ondragover = event => {
    event.preventDefault()
    field.classList.add("over")
  }
  field.ondragleave = () => field.classList.remove("over")
  field.ondrop = event => {
    event.preventDefault()
    field.classList.remove("over")
    take(event.dataTransfer.files[0])
  }
}
