import type { EntryInfo } from '../image/entry-store.js'
import { formatBytes, parseMemorySize } from '../spec/units.js'
import { listTemplates, pruneTemplates, removeTemplates } from '../warm/template-store.js'
import { EXIT_CODES } from './exit-code.js'

/** `withvm templates ls`: the frozen guests that others go on from. */
export async function showTemplates(options: { readonly json: boolean }): Promise<number> {
  const templates = await listTemplates()
  const text = options.json ? JSON.stringify(templates, undefined, 2) : formatTemplates(templates)
  process.stdout.write(`${text}\n`)
  return EXIT_CODES.ok
}

/** `withvm templates rm`. */
export async function deleteTemplates(names: readonly string[]): Promise<number> {
  await removeTemplates(names)
  return EXIT_CODES.ok
}

/** `withvm templates prune`: without a size, all that is not in use. */
export async function tidyTemplates(options: { readonly maxSize?: string }): Promise<number> {
  const mostBytes = options.maxSize === undefined ? 0 : parseMemorySize(options.maxSize)
  if (mostBytes === undefined) {
    process.stderr.write(`withvm: --max-size takes a size such as '2G', not '${options.maxSize}'.\n`)
    return EXIT_CODES.usage
  }
  const removed = await pruneTemplates({ mostBytes })
  process.stdout.write(removed.length === 0 ? 'Nothing was removed.\n' : `Removed ${removed.join(', ')}.\n`)
  return EXIT_CODES.ok
}

/** A row for each, and how much they take together. */
export function formatTemplates(templates: readonly EntryInfo[]): string {
  if (templates.length === 0) return 'There is no template: the first guest of a kind makes one.'
  const width = Math.max(...templates.map(({ name }) => name.length))
  const rows = templates.map(({ name, bytes, lastUsed, isInUse }) => {
    const used = isInUse ? 'in use' : `used ${lastUsed.toISOString().slice(0, 16).replace('T', ' ')}`
    return `${name.padEnd(width)}  ${formatBytes(bytes).padStart(10)}  ${used}`
  })
  const total = templates.reduce((sum, { bytes }) => sum + bytes, 0)
  return [...rows, '', `${templates.length} templates, ${formatBytes(total)}`].join('\n')
}
