import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildCli } from '../support/built-cli.js'
import { findReachable, readPublishedTypes } from '../support/published-types.js'

const ROOT = resolve(import.meta.dirname, '../..')

const folder = mkdtempSync(join(tmpdir(), 'wt-package-'))
/** Folder with the unpacked tarball. */
const root = join(folder, 'unpacked')
let files: readonly string[]

const read = (file: string) => readFileSync(join(root, file), 'utf8')

beforeAll(async () => {
  await buildCli()
  await execa('npm', ['pack', '--ignore-scripts', '--pack-destination', folder], { cwd: ROOT })
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) as string
  mkdirSync(root)
  await execa('tar', ['-xf', join(folder, tarball), '--strip-components=1', '-C', root])
  files = readdirSync(root, { recursive: true, encoding: 'utf8' })
}, 300_000)

afterAll(() => rmSync(folder, { recursive: true, maxRetries: 3 }))

test('the package contains the license, the changelog and no files of the build or of tests', () => {
  expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md']))
  expect(
    files.filter((file) => /tsbuildinfo|\.test\.|^(test|bench|examples|node_modules)\b/.test(file)),
  ).toEqual([])
})

test('the package names its repository, its home page and the place for reports of bugs', () => {
  const { repository, bugs, homepage, license } = JSON.parse(read('package.json'))
  expect({ repository, bugs, homepage, license }).toEqual({
    repository: { type: 'git', url: 'git+https://github.com/withvm/withvm.git' },
    bugs: 'https://github.com/withvm/withvm/issues',
    homepage: 'https://github.com/withvm/withvm#readme',
    license: 'MIT',
  })
})

test('each relative link of a page in the package leads to a file in the package', () => {
  const pages = files.filter((file) => file.endsWith('.md'))
  expect(pages.length).toBeGreaterThan(20)
  const broken = pages.flatMap((page) =>
    [
      ...read(page)
        .replace(/^```[\s\S]*?^```/gm, '')
        .matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g),
    ]
      .map(([, path = '']) => path)
      .filter((path) => !existsSync(join(root, dirname(page), path)))
      .map((path) => `${page}: ${path}`),
  )
  expect(broken).toEqual([])
})

test('each source map of a declaration leads to a source in the package', () => {
  const maps = files.filter((file) => file.endsWith('.d.ts.map'))
  expect(maps.length).toBeGreaterThan(100)
  const lost = maps.flatMap((map) => {
    const { sources } = JSON.parse(read(map)) as { sources: string[] }
    return sources
      .filter((source) => !existsSync(join(root, dirname(map), source)))
      .map((source) => `${map}: ${source}`)
  })
  expect(lost).toEqual([])
})

/** Returns the packages that the declarations name that `entry` loads. */
function listTypePackages(entry: string): readonly string[] {
  const loaded = new Set<string>()
  const packages = new Set<string>()
  const visit = (file: string): void => {
    if (loaded.has(file)) return
    loaded.add(file)
    const code = read(file).replace(/\/\*[\s\S]*?\*\//g, '')
    for (const [, name = ''] of code.matchAll(/(?:from |import |import\()['"]([^'"]+)['"]/g)) {
      if (name.startsWith('.')) visit(join(dirname(file), name.replace(/\.js$/, '.d.ts')))
      else packages.add(name)
    }
  }
  visit(entry)
  return [...packages].filter((name) => !name.startsWith('node:')).sort()
}

test('the published types name no types of dependencies', () => {
  expect(listTypePackages('dist/fixtures/index.d.ts')).toEqual([])
  expect(listTypePackages('dist/fixtures/vitest.d.ts')).toEqual(['vitest'])
})

test('each optional property of the published types accepts `undefined`', () => {
  const strict = [...findReachable(readPublishedTypes())].flatMap(([name, { text }]) =>
    [...text.matchAll(/readonly ('?[\w-]+'?)\?: ((?:[^;{}]|\{[^{}]*\})*)/g)]
      .filter(([, , type = '']) => !/\bundefined$|^unknown$/.test(type.trimEnd()))
      .map(([, property]) => `${name}: ${property}`),
  )
  expect(strict).toEqual([])
})
