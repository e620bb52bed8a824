import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, test } from 'vitest'
import { parse } from 'yaml'
import { buildCli } from '../support/built-cli.js'

const ROOT = resolve(import.meta.dirname, '../..')
const GENERATE = join(ROOT, 'docs/generate.mjs')

const isPage = (name: string) => name.endsWith('.md')
const listPages = (folder: string) =>
  readdirSync(join(ROOT, folder))
    .filter(isPage)
    .map((name) => join(folder, name))
const PAGES = [...listPages(''), ...listPages('docs'), ...listPages('docs/api')]

/** Returns the text of a page without its code blocks. */
function readProse(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8').replace(/^```[\s\S]*?^```/gm, '')
}

/** Returns the anchors of a page as GitHub assigns them: to headings, and explicit ones. */
function listAnchors(page: string): string[] {
  const counts = new Map<string, number>()
  const headings = [...readProse(page).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) => {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-')
    const count = counts.get(slug) ?? 0
    counts.set(slug, count + 1)
    return count === 0 ? slug : `${slug}-${count}`
  })
  return [...headings, ...[...readProse(page).matchAll(/<a id="([^"]+)">/g)].map(([, id = '']) => id)]
}

beforeAll(buildCli, 120_000)

test('the documentation equals the output of `npm run docs`', async () => {
  const { stdout, stderr } = await execa(process.execPath, [GENERATE, '--check'], { reject: false })
  expect(stdout + stderr, 'run `npm run docs` and commit what it changes').toBe('')
}, 120_000)

test('each link between the pages leads to an existing file and heading', () => {
  const anchors = new Map(PAGES.map((page) => [page, listAnchors(page)]))
  const broken = PAGES.flatMap((page) =>
    [...readProse(page).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].flatMap(
      ([link, path = '', anchor]) => {
        const target = path === '' ? page : join(dirname(page), path)
        const isValid =
          existsSync(join(ROOT, target)) && (anchor === undefined || anchors.get(target)?.includes(anchor))
        return isValid === true ? [] : [`${page}: ${link}`]
      },
    ),
  )
  expect(broken).toEqual([])
})

test('the menu of the site lists each page of the documentation', () => {
  const config = readFileSync(join(ROOT, 'docs/site/.vitepress/config.mjs'), 'utf8')
  const names = PAGES.map((page) => page.replace(/^docs\/|\.md$/g, '')).filter((name) => name !== 'README')
  expect(names.filter((name) => !new RegExp(`'(?:/|/docs/)?${name}'`).test(config))).toEqual([])
})

test('the snippets of workflows are valid YAML with a job', () => {
  const folder = join(ROOT, 'examples/ci')
  const workflows = readdirSync(folder).map((name) => parse(readFileSync(join(folder, name), 'utf8')))
  expect(workflows.length).toBe(2)
  for (const workflow of workflows) expect(workflow.test ?? workflow.jobs.test).toBeTypeOf('object')
})

test('each snippet of TypeScript imports the names of withvm and Vitest that it uses', () => {
  const names = [
    'withVM',
    'launchVM',
    'launchVMs',
    'image',
    'defineImage',
    'checks',
    'netboot',
    'expect',
    'test',
  ]
  const missing = ['README.md', ...listPages('docs')].flatMap((page) => {
    const snippets = readFileSync(join(ROOT, page), 'utf8').matchAll(/^```(?:ts|js|mjs)\n([\s\S]*?)^```/gm)
    return [...snippets].flatMap(([, snippet = '']) =>
      names
        .filter((name) => new RegExp(`^[^'\`/]*(?<![.\\w])${name}\\(`, 'm').test(snippet))
        .filter((name) => !new RegExp(`^(?:import|const) .*\\b${name}\\b`, 'm').test(snippet))
        .map((name) => `${page}: ${name} in ${snippet.slice(0, 80)}`),
    )
  })
  expect(missing).toEqual([])
})

test('the README lists each page of the documentation', () => {
  const readme = readProse('README.md')
  const missing = listPages('docs').filter((page) => !readme.includes(`](${page})`))
  expect(missing).toEqual([])
})

test('the page for contributors names existing files', () => {
  const roots = ['', 'src']
  const paths = [...readProse('CONTRIBUTING.md').matchAll(/`([\w./-]+)`/g)]
    .map(([, path = '']) => path)
    .filter((path) => /[/]|\.ts$/.test(path))
  const missing = paths.filter((path) => !roots.some((root) => existsSync(join(ROOT, root, path))))
  expect(paths.length).toBeGreaterThan(30)
  expect(missing).toEqual([])
})
