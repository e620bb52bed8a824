// Parses the declaration files that the compiler writes: classes, interfaces, types, functions and constants, with
// their comments and members. They contain public members only, because the build strips the internal ones.
import { posix } from 'node:path'

/**
 * @typedef {{ text: string, tags: Array<{ name: string, text: string }> }} Comment
 * @typedef {{ name: string, code: string, isMethod: boolean, comment: Comment }} Member
 * @typedef {{ file: string, kind: string, name: string, head: string, code: string, comment: Comment, members: Member[] }} Declaration
 */

const DECLARATION = /^(?:export )?(?:declare )?(?:abstract )?(class|interface|type|const|function) (\w+)/
const NAMES = /^(import|export)(?: type)? \{([\s\S]*?)\} from '(\.[^']+)\.js'/
const MEMBER = /^(?:static )?(readonly |get )?(\w+|\[[\w.]+\])?\??([(<:])/

/** Declarations of a package that a user can reach from its entry points. */
export class Declarations {
  #read
  #files = new Map()

  /** @param read returns the text of a declaration file. */
  constructor(read) {
    this.#read = read
  }

  /** Returns the names that a file exports. */
  listExports(file) {
    return [...this.#parse(file).exports]
  }

  /**
   * Returns the declarations of a name in a file, which may import it. A function has one for each overload.
   * @returns {Declaration[]}
   */
  find(file, name) {
    const { declarations, imports } = this.#parse(file)
    const own = declarations.filter((one) => one.name === name)
    const imported = imports.get(name)
    return own.length > 0 || imported === undefined ? own : this.find(imported.file, imported.name)
  }

  #parse(file) {
    const known = this.#files.get(file)
    if (known !== undefined) return known
    const parsed = { declarations: [], imports: new Map(), exports: new Set() }
    for (const { comment, code } of splitStatements(hideUndefined(this.#read(file)))) {
      const [, verb, names = '', from = ''] = NAMES.exec(code) ?? []
      for (const part of names.split(',').filter((part) => part.trim() !== '')) {
        const [, name, alias = name] = /^\s*(?:type )?(\w+)(?: as (\w+))?/.exec(part)
        parsed.imports.set(alias, { file: posix.join(posix.dirname(file), `${from}.d.ts`), name })
        if (verb === 'export') parsed.exports.add(alias)
      }
      const [, kind, name] = DECLARATION.exec(code) ?? []
      if (kind === undefined) continue
      if (code.startsWith('export ')) parsed.exports.add(name)
      parsed.declarations.push({ file, kind, name, ...parseBody(code), comment: parseComment(comment) })
    }
    this.#files.set(file, parsed)
    return parsed
  }
}

/** Removes the `undefined` of optional properties, which the `?` implies for a reader. */
function hideUndefined(text) {
  return text.replaceAll(
    /(\?: (?:\(.*\)|[^;\n]+?)) \| undefined;$/gm,
    (_, type) => `${type.replace(/: \((\(.*)\)$/, ': $1')};`,
  )
}

function parseBody(code) {
  const lines = code.split('\n')
  const hasBody = lines.length > 1 && lines.at(-1).startsWith('}') && /[^(]\{$/.test(lines[0])
  const members = hasBody ? splitStatements(dedent(lines.slice(1, -1))).flatMap(parseMember) : []
  return { head: lines[0], code: tidy(code), members }
}

function parseMember({ comment, code }) {
  const [, modifier, name = '', next] = MEMBER.exec(code) ?? []
  if (next === undefined || name === 'constructor') return []
  const type = code.slice(MEMBER.exec(code)[0].length)
  const isMethod = modifier !== 'get ' && (next !== ':' || /^ (?:\(|For<)/.test(type))
  return [{ name, code: tidy(code), isMethod, comment: parseComment(comment) }]
}

/** Splits a file or a body into statements, each with the documentation comment above it. */
function splitStatements(text) {
  const statements = []
  let comment = ''
  let code = []
  let depth = 0
  let isComment = false
  for (const line of text.split('\n')) {
    const startsComment = line.trimStart().startsWith('/**')
    if (isComment || startsComment) {
      isComment = !line.trimEnd().endsWith('*/')
      if (code.length > 0) code.push(line)
      else comment = startsComment ? line : `${comment}\n${line}`
      continue
    }
    if (code.length === 0 && line.trim() === '') continue
    code.push(line)
    const plain = line.replace(/'[^']*'|`[^`]*`/g, '')
    depth += plain.match(/[{([]/g)?.length ?? 0
    depth -= plain.match(/[})\]]/g)?.length ?? 0
    if (depth > 0 || !/[;}]$/.test(line)) continue
    statements.push({ comment, code: code.join('\n') })
    comment = ''
    code = []
  }
  return statements
}

/** Returns code as a page shows it, without keywords that each declaration has. */
function tidy(code) {
  return code
    .replace(/^(?:export )?(?:declare )?(?:abstract )?/, '')
    .replace(/^(?:readonly |get (\w+)\(\))/, '$1')
    .replace(/^( *)readonly /gm, '$1')
    .replace(/;$/, '')
}

function dedent(lines) {
  return lines.map((line) => line.replace(/^ {4}/, '')).join('\n')
}

/** Parses a documentation comment: its text, with paragraphs and lists, and its tags. */
function parseComment(comment) {
  const lines = comment
    .replace(/^\s*\/\*\*/, '')
    .replace(/\*\/\s*$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
  const [text = '', ...tags] = lines
    .join('\n')
    .replace(/\{@link ([\w.]+)\}/g, '`$1`')
    .split(/(?:^|\s)@(?=(?:param|returns|default|throws|example)\b)/)
  return {
    text: joinLines(text),
    tags: tags.map((tag) => {
      const [, name, rest] = /^(\w+)\s*([\s\S]*)$/.exec(tag)
      return { name, text: name === 'example' ? rest.trim() : joinLines(rest) }
    }),
  }
}

/** Joins the lines of each paragraph and of each item of a list. */
function joinLines(text) {
  return text.trim().replace(/([^\n])\n(?!\n|- )\s*/g, '$1 ')
}
