import { join } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'
import { listTemplates, pruneTemplates, removeTemplates, TEMPLATES } from '../warm/template-store.js'
import { awaitStaleUsers } from './await-users.js'
import { removing } from './cache-errors.js'
import { formatEntries, tidyEntries } from './entry-list.js'
import { EXIT_CODES } from './exit-code.js'

/** `withvm templates ls`: the frozen guests that others go on from. */
export async function showTemplates(options: { readonly json: boolean }): Promise<number> {
  const templates = await listTemplates()
  const none = 'There is no template: the first guest of a kind makes one.'
  const table = templates.length === 0 ? none : formatEntries(templates, 'templates')
  process.stdout.write(`${options.json ? JSON.stringify(templates, undefined, 2) : table}\n`)
  return EXIT_CODES.ok
}

/** `withvm templates rm`. */
export async function deleteTemplates(names: readonly string[]): Promise<number> {
  await awaitStaleUsers(templatesDir(), names)
  await removing(templatesDir(), () => removeTemplates(names))
  return EXIT_CODES.ok
}

/** `withvm templates prune`: without a size, all that is not in use. */
export async function tidyTemplates(options: { readonly maxSize?: string }): Promise<number> {
  return tidyEntries(options, async (mostBytes) => {
    await awaitStaleUsers(templatesDir())
    return removing(templatesDir(), () => pruneTemplates({ mostBytes }))
  })
}

function templatesDir(): string {
  return join(resolveCacheDir(), TEMPLATES)
}
