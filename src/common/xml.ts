import { DOMParser, type Element, onErrorStopParsing } from '@xmldom/xmldom'
import { MIB } from './units.js'

export type { Element } from '@xmldom/xmldom'

/**
 * Limits of a document, because the parser's time grows with the square of some of them. A libvirt
 * domain or an appliance descriptor has a few hundred tags and attributes.
 */
const LIMITS = { characters: MIB, tags: 10_000, attributes: 20_000, namespaces: 200 } as const

/**
 * Parses a document without reading anything outside of it. A document type is rejected, so no
 * entity can expand.
 *
 * @throws {Error} when it is not well-formed, has a document type, or exceeds a limit.
 */
export function parseXml(text: string): Element {
  requireAtMost(text.length, LIMITS.characters, 'characters')
  requireAtMost(count(text, '<'), LIMITS.tags, 'tags')
  requireAtMost(count(text, '='), LIMITS.attributes, 'attributes')
  requireAtMost(count(text, 'xmlns'), LIMITS.namespaces, 'namespaces')
  if (/<!DOCTYPE/i.test(text)) throw new Error('document types are not supported')
  const parser = new DOMParser({ onError: onErrorStopParsing })
  const { documentElement } = parser.parseFromString(text, 'text/xml')
  if (documentElement === null) throw new Error('the document has no element')
  return documentElement
}

/** Returns all descendants with a name, whatever their prefix. */
export function findElements(root: Element, localName: string): Element[] {
  return [...root.getElementsByTagNameNS('*', localName)]
}

/** Returns the attribute with a name, whatever its prefix; undefined if it does not exist. */
export function findAttribute(element: Element, localName: string): string | undefined {
  return [...element.attributes].find((attribute) => attribute.localName === localName)?.value
}

function count(text: string, part: string): number {
  let found = 0
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length)) found++
  return found
}

function requireAtMost(number: number, max: number, what: string): void {
  if (number > max) throw new Error(`${number} ${what}, at most ${max} are supported`)
}
