/** A table whose cells may hold anything but a line end; its columns are padded as Biome pads them. */
export function table(head, rows) {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|')))
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column].length)))
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  const rule = line(widths.map((width) => '-'.repeat(width)))
  return [line(cells[0]), rule, ...cells.slice(1).map(line)].join('\n')
}

export function code(text) {
  return text === '' ? '' : `\`${text}\``
}

/** A default, with its literals in code marks. */
export function value(text) {
  return text.replace(/^(?:\d+|true|false)\b|(?<![\w`])'[^' ]+'(?![\w`])/g, code)
}

export function fence(language, text) {
  return `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``
}

/** The first line of a page that is made. */
export function madeFrom(...sources) {
  return `<!-- Made by \`npm run docs\` from ${sources.join(', ')}. Do not edit. -->`
}
