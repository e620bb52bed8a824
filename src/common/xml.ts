import { DOMParser, type Element, onErrorStopParsing } from '@xmldom/xmldom'

export type { Element } from '@xmldom/xmldom'

/**
 * Limits on a document, because the parser's time grows with the square of some of them. A domain of libvirt or the descriptor of an
 * appliance has a few hundred tags and attributes.
 */
const MOST = { characters: 1024 ** 2, tags: 10_000, attributes: 20_000, namespaces: 200 } as const

/**
 * Parses a document; nothing outside of it is read. A document type is refused, so that no entity can expand to more than is there.
 *
 * @throws {Error} when it is not well-formed, has a document type, or exceeds a limit.
 */
export function parseXml(text: string): Element {
  requireAtMost(text.length, MOST.characters, 'characters')
  requireAtMost(count(text, '<'), MOST.tags, 'tags')
  requireAtMost(count(text, '='), MOST.attributes, 'attributes')
  requireAtMost(count(text, 'xmlns'), MOST.namespaces, 'namespaces')
  if (/<!DOCTYPE/i.test(text)) throw new Error('it has a document type, which is not supported')
  const parser = new DOMParser({ onError: onErrorStopParsing })
  const { documentElement } = parser.parseFromString(text, 'text/xml')
  if (documentElement === null) throw new Error('there is no element in it')
  return documentElement
}

/** All elements below one that have a name, whatever its prefix. */
export function findElements(root: Element, localName: string): Element[] {
  return [...root.getElementsByTagNameNS('*', localName)]
}

/** The attribute of a name, whatever its prefix; undefined where there is none. */
export function findAttribute(element: Element, localName: string): string | undefined {
  return [...element.attributes].find((attribute) => attribute.localName === localName)?.value
}

function count(text: string, part: string): number {
  let found = 0
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) found++
  return found
}

function requireAtMost(number: number, most: number, what: string): void {
  if (number > most) throw new Error(`it has ${number} ${what}, and at most ${most} are supported`)
}
