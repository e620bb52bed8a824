// Parses interfaces and type aliases of a TypeScript file in the format of Biome: each line has one member or the end of one.
// It supports only this subset of the language and throws for other syntax instead of omitting it.

import { linkPages } from './markdown.mjs'

/**
 * @typedef {{ name: string, isRequired: boolean, type: string, text: string, default: string | undefined, qemu: string | undefined }} Member
 * @typedef {{ name: string, parents: string[], text: string, members: Member[] }} Interface
 * @typedef {{ name: string, text: string, type: string }} Alias
 */

const START = /^export interface (\w+)(?:<.*?>)?(?: extends (.+?))? \{$/
const MEMBER = /^ {2}(?:readonly )?(\w+)(\??): (.+)$/
/** Methods and index signatures, which the text above the interface documents. */
const METHOD = /^ {2}(?:\w+(?:<.*?>)?\(|readonly \[)/

/**
 * Parses the interfaces that `wants` accepts. @default all
 * @returns {Interface[]}
 */
export function parseInterfaces(source, path, wants = () => true) {
  const found = []
  for (const { lines, line, comment } of blocks(source)) {
    const start = START.exec(line)
    if (start === null || !wants(start[1])) continue
    const body = lines.slice(1, lines.indexOf('}'))
    const parents = (start[2] ?? '').split(', ').filter((name) => name !== '')
    found.push({ name: start[1], parents, ...describe(comment), members: parseMembers(body, path) })
  }
  return found
}

/** @returns {Alias[]} */
export function parseAliases(source) {
  return blocks(source).flatMap(({ lines, line, comment }) => {
    const start = /^export type (\w+)(?:<.*?>)? =(?: (.+))?$/.exec(line)
    if (start === null) return []
    const rest = lines.slice(
      1,
      lines.findIndex((next, index) => index > 0 && !next.startsWith('  ')),
    )
    const type = [start[2] ?? '', ...rest.map((next) => next.trim())].join(' ').trim()
    return [
      {
        name: start[1],
        text: describe(comment).text.replace('\n- ', '\n\n- '),
        type: type.replace(/^\| /, ''),
      },
    ]
  })
}

/** Returns each exported declaration, with the comment above it and the lines that follow. */
function blocks(source) {
  const lines = source.split('\n')
  return lines.flatMap((line, index) => {
    if (!line.startsWith('export ')) return []
    const comment = lines[index - 1]?.endsWith('*/') ? commentAbove(lines, index) : ''
    return [{ line, lines: [...lines.slice(index), ''], comment }]
  })
}

function commentAbove(lines, index) {
  let first = index - 1
  while (!/^\s*\/\*\*/.test(lines[first])) first--
  return readComment(lines.slice(first, index))
}

function parseMembers(lines, path) {
  const members = []
  let comment = []
  let inComment = false
  for (const line of lines) {
    if (/^\s*\/\*\*/.test(line)) comment = []
    if (inComment || /^\s*\/\*\*/.test(line)) {
      comment.push(line)
      inComment = !line.trimEnd().endsWith('*/')
      continue
    }
    const member = MEMBER.exec(line)
    if (member === null) {
      if (line.trim() === '' || METHOD.test(line)) continue
      throw new Error(`${path}: docs/generate cannot read this line of an interface: ${line}`)
    }
    const type = member[3].replace(/ \| undefined$/, '')
    members.push({ name: member[1], isRequired: member[2] === '', type, ...describe(readComment(comment)) })
    comment = []
  }
  return members
}

/** Returns the text of a comment in one line. Items of a list keep their lines. */
function readComment(lines) {
  return lines
    .map((line) => line.replace(/^\s*\/?\*+\/?\s?/, '').replace(/\s*\*\/\s*$/, ''))
    .join('\n')
    .replace(/\s*\n(?!- )\s*/g, ' ')
    .replace(/ +/g, ' ')
    .trim()
}

/** Parses a comment: the text, its `@default`, and the `(QEMU: …)` in the text. */
function describe(comment) {
  const [text = '', ...tags] = comment.split(/\s*@(?=[a-z]+ )/)
  const tag = tags.find((part) => part.startsWith('default '))
  const qemu = /\s*\(QEMU: ([^)]*)\)/.exec(text)
  return {
    text: linkPages(
      (qemu === null ? text : text.replace(qemu[0], '')).replace(/\{@link (\w+)\}/g, '`$1`').trim(),
    ),
    default: tag?.slice('default '.length).trim(),
    qemu: qemu?.[1],
  }
}
