// `npm run docs` generates the reference pages and fills the tested examples into the other pages. With `--check` it
// changes nothing and exits with 1 if a page is stale. It reads the built package, so build first.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { apiPage } from './generate/api-page.mjs'
import { cliPage } from './generate/cli-page.mjs'
import { fillEmbeds } from './generate/embeds.mjs'
import { errorsPage } from './generate/errors-page.mjs'
import { optionsPage } from './generate/options-page.mjs'

const ROOT = resolve(import.meta.dirname, '..')
const PAGES = { 'options.md': optionsPage, 'api.md': apiPage, 'errors.md': errorsPage, 'cli.md': cliPage }

const load = (path) => import(join(ROOT, 'dist', path))
const tools = {
  dist: join(ROOT, 'dist'),
  read: (path) => readFileSync(join(ROOT, path), 'utf8'),
  load,
  constants: {
    ...(await load('src/spec/architectures.js')),
    ...(await load('src/host/distribution.js')),
    ...(await load('images/recipes.js')),
    ...(await load('src/vm/evidence/saved-logs.js')),
    ...(await load('src/vm/watch/boot-stages.js')),
    ...(await load('src/warm/eligibility.js')),
  },
}
const isCheck = process.argv.includes('--check')

const inDocs = [
  ...Object.keys(PAGES),
  ...readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md')),
]

const stale = []
for (const page of ['README.md', ...new Set(inDocs.map((name) => `docs/${name}`))]) {
  const name = page.replace('docs/', '')
  const path = join(ROOT, page)
  const present = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const made = name in PAGES ? await PAGES[name](tools) : fillEmbeds(present, tools)
  if (made === present) continue
  stale.push(page)
  if (!isCheck) writeFileSync(path, made)
}

for (const path of stale)
  console.log(isCheck ? `${path} is stale: run \`npm run docs\`.` : `${path} was updated.`)
if (isCheck && stale.length > 0) process.exitCode = 1
