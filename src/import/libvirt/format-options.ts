import { toSafeLine } from '../../errors/safe-text.js'
import type { ImportedDomain } from './domain.js'

/**
 * Formats the options of a domain as the source of a test, with comments for settings that were not
 * imported.
 */
export function formatAsTest({ options, skippedSettings }: ImportedDomain): string {
  const notes = skippedSettings.map(({ path, what, reason }) =>
    toSafeLine(`// - ${path}: ${what}: ${reason}`),
  )
  return [
    "import { withVM } from 'withvm'",
    '',
    ...(notes.length === 0 ? [] : ['// Not imported:', ...notes, '']),
    'await withVM(',
    `  ${formatValue(options, '  ')},`,
    '  async (vm) => {',
    '    console.log((await vm.ssh`uname -a`).stdout)',
    '  },',
    ')',
    '',
  ].join('\n')
}

const WIDTH = 80

/** Formats a TypeScript literal, on one line if it fits. */
function formatValue(value: unknown, indent: string): string {
  if (typeof value === 'string') return quote(value)
  if (typeof value !== 'object' || value === null) return String(value)
  const isList = Array.isArray(value)
  const [open, close] = isList ? ['[', ']'] : ['{', '}']
  const inner = `${indent}  `
  const write = (deeper: string) =>
    isList
      ? value.map((item) => formatValue(item, deeper))
      : Object.entries(value).map(([key, item]) => `${formatKey(key)}: ${formatValue(item, deeper)}`)
  const gap = isList ? '' : ' '
  const line = `${open}${gap}${write(inner).join(', ')}${gap}${close}`
  const isOptions = indent === '  '
  if (!isOptions && !line.includes('\n') && indent.length + line.length <= WIDTH) return line
  return [open, ...write(inner).map((item) => `${inner}${item},`), `${indent}${close}`].join('\n')
}

function formatKey(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key)
}

function quote(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`
}
