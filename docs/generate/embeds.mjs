import { extname } from 'node:path'
import { architecturesTable } from './architectures-table.mjs'
import { code, fence, table } from './markdown.mjs'

const MARKED = /(<!-- (example|output|table): (\S+) -->\n)[\s\S]*?(<!-- \/\2 -->)/g

/** Fills the regions between marks: parts of tested files, their output, and tables of rules. */
export function fillEmbeds(page, tools) {
  return page.replaceAll(MARKED, (_, start, kind, source, end) => {
    return `${start}${FILL[kind](source, tools)}\n${end}`
  })
}

/** Languages of code blocks that differ from the extension of the file. */
const LANGUAGES = { mjs: 'js', cjs: 'js', yml: 'yaml' }

const FILL = {
  example(source, { read }) {
    const [path, region] = source.split('#')
    const text = read(path)
    const language = extname(path).slice(1)
    return fence(
      LANGUAGES[language] ?? language,
      region === undefined ? text : withImports(cutRegion(text, path, region), text),
    )
  },
  output(source, { read }) {
    return fence('text', read(source))
  },
  table(source, { read, constants }) {
    const [path, name] = source.split('#')
    if (name in TABLES) return TABLES[name](constants)
    const rows = Object.entries(readObject(read(path), path, name))
    const cells = (values) => values.map((value) => `\`${value}\``).join(', ') || 'nothing'
    // The cells of modules are too long for a table.
    if (name === 'ALLOWED')
      return rows.map(([key, values]) => wrapItem(`\`${key}\`: ${cells(values)}`)).join('\n')
    return table(
      ['Package', 'is imported in'],
      rows.map(([key, values]) => [`\`${key}\``, cells(values)]),
    )
  },
}

/** Renderers of the constants that are loaded from the built package. */
const TABLES = {
  ARCHITECTURES: architecturesTable,
  STAGES: ({ STAGES }) => STAGES.map((stage, index) => `${index + 1}. ${code(stage)}`).join('\n'),
  COLD_REASONS: ({ COLD_REASONS }) =>
    table(
      ['Options', 'Reason for a cold boot'],
      COLD_REASONS.map(({ options, reason }) => [options.map(code).join(', '), reason]),
    ),
  FORK_OBSTACLES: ({ FORK_OBSTACLES }) =>
    table(
      ['Options', 'Reason'],
      FORK_OBSTACLES.map(({ options, reason }) => [options.map(code).join(', '), reason]),
    ),
  ARTIFACTS: ({ ARTIFACTS }) =>
    table(
      ['File', 'Contents'],
      Object.entries(ARTIFACTS).map(([file, contents]) => [code(file), contents]),
    ),
}

const LINE_CHARS = 100

/** Returns an item of a list, wrapped. */
function wrapItem(text) {
  const lines = ['-']
  for (const word of text.split(' ')) {
    if (`${lines.at(-1)} ${word}`.length > LINE_CHARS) lines.push(' ')
    lines[lines.length - 1] += ` ${word}`
  }
  return lines.join('\n')
}

/** Returns the lines between `// #region name` and `// #endregion`, without their common indentation. */
function cutRegion(text, path, region) {
  const lines = text.split('\n')
  const start = lines.findIndex((line) => line.trim() === `// #region ${region}`)
  const end = lines.findIndex((line, index) => index > start && line.trim() === '// #endregion')
  if (start === -1 || end === -1) throw new Error(`docs/generate: ${path} has no region ${region}`)
  const body = lines.slice(start + 1, end)
  const indent = Math.min(...body.filter((line) => line !== '').map((line) => /^ */.exec(line)[0].length))
  return body.map((line) => line.slice(indent)).join('\n')
}

const IMPORT = /^import (type )?\{([^}]*)\} from ('[^'.][^']*')$/gm

/** Returns a snippet below the imports from packages that it uses, taken from its file. */
function withImports(snippet, file) {
  const imports = [...file.matchAll(IMPORT)].flatMap(([line, type = '', names, from]) => {
    if (snippet.includes(line)) return []
    const used = names
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '' && usesName(snippet, /\w+$/.exec(name)[0]))
    return used.length === 0 ? [] : [`import ${type}{ ${used.join(', ')} } from ${from}`]
  })
  return imports.length === 0 ? snippet : `${imports.join('\n')}\n\n${snippet}`
}

const TEXT = /'(?:[^'\\\n]|\\.)*'|`[^`]*`|\/\/.*$/gm

/** Returns whether code refers to a name, other than in text, in a comment, as a member or as a key. */
function usesName(snippet, name) {
  const code = snippet.replaceAll(TEXT, (text) => text.match(/(?<=^`.*)\$\{[^}]*\}/gs)?.join(' ') ?? '')
  return new RegExp(`(?<![\\w.])${name}\\b(?! *:)`).test(code)
}

/** Parses a top-level constant: an object of string arrays. */
function readObject(text, path, name) {
  const literal = new RegExp(`^const ${name}\\b[^=]*= (\\{[\\s\\S]*?^\\})`, 'm').exec(text)?.[1]
  if (literal === undefined) throw new Error(`docs/generate: ${path} has no constant ${name}`)
  const json = literal
    .replaceAll("'", '"')
    .replace(/^( +)(\w+):/gm, '$1"$2":')
    .replace(/,(?=\s*[}\]])/g, '')
  return JSON.parse(json)
}
