import { type Element, parseXml } from '../../common/xml.js'

/** Element or attribute that was not read. */
export interface Leftover {
  /** Path below the root: `devices/disk/shareable`, `vcpu@cpuset`. */
  readonly path: string
  readonly text: string
}

/**
 * XML element that records which children and attributes were read, so that the others can be
 * reported.
 */
export class XmlElement {
  readonly name: string
  readonly #element: Element
  readonly #path: string
  readonly #children: readonly XmlElement[]
  readonly #readAttributes = new Set<string>()
  #isRead = false

  private constructor(element: Element, path: string) {
    this.name = element.nodeName
    this.#element = element
    this.#path = path
    this.#children = [...element.childNodes].flatMap((node) =>
      node.nodeType === node.ELEMENT_NODE
        ? [new XmlElement(node as Element, path === '' ? node.nodeName : `${path}/${node.nodeName}`)]
        : [],
    )
  }

  /**
   * Parses a document, without external entities.
   * @throws {Error} when it is not well-formed, or too large
   */
  static parse(text: string): XmlElement {
    const root = new XmlElement(parseXml(text), '')
    root.#isRead = true
    return root
  }

  /** Returns the first child with that name or path, and marks it as read. */
  child(path: string): XmlElement | undefined {
    const [name = '', ...rest] = path.split('/')
    const found = this.#children.find((child) => child.name === name)
    if (found === undefined) return undefined
    found.#isRead = true
    return rest.length === 0 ? found : found.child(rest.join('/'))
  }

  /** Returns all children with that name, and marks them as read. */
  children(name: string): readonly XmlElement[] {
    const found = this.#children.filter((child) => child.name === name)
    for (const child of found) child.#isRead = true
    return found
  }

  attribute(name: string): string | undefined {
    this.#readAttributes.add(name)
    return this.#element.getAttribute(name) ?? undefined
  }

  get text(): string {
    return (this.#element.textContent ?? '').trim()
  }

  /** Returns the elements and attributes that were not read. */
  leftovers(): Leftover[] {
    // An element that only groups others needs no read.
    const isRead = this.#isRead || (this.#children.length > 0 && this.#element.attributes.length === 0)
    if (!isRead) return [{ path: this.#path, text: this.#describe() }]
    const attributes = [...this.#element.attributes]
      .filter(({ name }) => !this.#readAttributes.has(name) && !name.startsWith('xmlns'))
      .map(({ name, value }) => ({ path: `${this.#path}@${name}`, text: `${name}="${value}"` }))
    return [...attributes, ...this.#children.flatMap((child) => child.leftovers())]
  }

  /** Formats the start tag, and the content if it is short. */
  #describe(): string {
    const attributes = [...this.#element.attributes]
      .filter(({ name }) => !name.startsWith('xmlns'))
      .map(({ name, value }) => ` ${name}="${value}"`)
    const tag = `<${this.name}${attributes.join('')}`
    const isShort = this.#children.length === 0 && this.text.length <= 40 && this.text !== ''
    return isShort ? `${tag}>${this.text}</${this.name}>` : `${tag}>`
  }
}
