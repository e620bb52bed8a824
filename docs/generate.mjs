// `npm run docs` generates the reference pages and fills the tested examples into the other pages. With `--check` it
// changes nothing and exits with 1 if a page is stale. It reads the built package, so build first.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { apiPages } from './generate/api-page.mjs'
import { cliPage } from './generate/cli-page.mjs'
import { fillEmbeds } from './generate/embeds.mjs'
import { errorsPage } from './generate/errors-page.mjs'
import { optionsPage } from './generate/options-page.mjs'
import { qemuArgumentsPage } from './generate/qemu-arguments-page.mjs'

const ROOT = resolve(import.meta.dirname, '..')
const PAGES = {
  'options.md': optionsPage,
  'qemu-arguments.md': qemuArgumentsPage,
  'errors.md': errorsPage,
  'cli.md': cliPage,
}

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
    ...(await load('src/vm/fork/requirements.js')),
  },
}
const isCheck = process.argv.includes('--check')

const generated = await apiPages(tools)
for (const [name, render] of Object.entries(PAGES)) generated[name] = await render(tools)

const isPage = (name) => name.endsWith('.md')
const stale = []
for (const name of new Set([...Object.keys(generated), ...readdirSync(join(ROOT, 'docs')).filter(isPage)]))
  update(`docs/${name}`, (present) => generated[name] ?? fillEmbeds(present, tools))
update('README.md', (present) => fillEmbeds(present, tools))
for (const name of existsSync(join(ROOT, 'docs/api')) ? readdirSync(join(ROOT, 'docs/api')) : [])
  if (!(`api/${name}` in generated)) update(`docs/api/${name}`, () => undefined)

/** Writes a page if `render` returns another text than the present one, or removes it if there is none. */
function update(page, render) {
  const path = join(ROOT, page)
  const present = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const made = render(present)
  if (made === present) return
  stale.push(page)
  if (isCheck) return
  if (made === undefined) return rmSync(path)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, made)
}

for (const path of stale)
  console.log(isCheck ? `${path} is stale: run \`npm run docs\`.` : `${path} was updated.`)
if (isCheck && stale.length > 0) process.exitCode = 1
