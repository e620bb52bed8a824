// Copies the pages of the repository to `pages`, with the same relative paths, so that their links stay valid. VitePress resolves
// the imports of a compiled page from its folder, which therefore has to be in this package.
import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
const PAGES = join(import.meta.dirname, 'pages')

rmSync(PAGES, { recursive: true, force: true })
for (const folder of ['', 'docs', 'docs/api']) {
  for (const name of readdirSync(join(ROOT, folder))) {
    if (/\.(?:md|svg|png)$/.test(name)) copy(join(ROOT, folder, name), join(PAGES, folder, name))
  }
}
copy(join(import.meta.dirname, 'home.md'), join(PAGES, 'index.md'))

function copy(from, to) {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to)
}
