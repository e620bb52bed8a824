import { join } from 'node:path'
import { resolveCacheDir } from '../common/cache-dir.js'
import { listTemplates, pruneTemplates, removeTemplates, TEMPLATES } from '../warm/template-store.js'
import { awaitStaleUsers } from './await-users.js'
import { explainReadOnly } from './cache-errors.js'
import { formatEntries, type Json, type PruneFlags, printRemoved, pruneEntries } from './entry-list.js'
import { EXIT_CODES } from './exit-code.js'
import { printResult } from './json.js'

/** Runs `withvm templates ls`: lists the templates. */
export async function showTemplates(options: { readonly json: boolean }): Promise<number> {
  const templates = await listTemplates()
  const none = 'No templates are cached: the first warm start of a guest configuration builds one.'
  const text = templates.length === 0 ? none : formatEntries(templates, 'templates')
  printResult(templates, { json: options.json, text })
  return EXIT_CODES.ok
}

/** Runs `withvm templates rm`. */
export async function deleteTemplates(names: readonly string[], options: Json): Promise<number> {
  await awaitStaleUsers(templatesDir(), names)
  await explainReadOnly(templatesDir(), () => removeTemplates(names))
  printRemoved(names, options)
  return EXIT_CODES.ok
}

/** Runs `withvm templates prune`. Without a size, removes all templates that are not in use. */
export async function pruneCachedTemplates(options: PruneFlags): Promise<number> {
  return pruneEntries(options, async (maxBytes) => {
    await awaitStaleUsers(templatesDir())
    return explainReadOnly(templatesDir(), () => pruneTemplates({ maxBytes }))
  })
}

function templatesDir(): string {
  return join(resolveCacheDir(), TEMPLATES)
}
