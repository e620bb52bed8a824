import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

/**
 * Modules that a module may import from, in addition to itself. Each lists only modules above it.
 * `docs/architecture.md` contains this table.
 */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'src/errors': [],
  'src/common': ['src/errors'],
  'src/spec': ['src/errors', 'src/common'],
  'src/cache': ['src/errors', 'src/common'],
  'src/packages': ['src/errors', 'src/common'],
  'src/disk': ['src/errors', 'src/common', 'src/spec'],
  'src/archive': ['src/errors', 'src/common', 'src/disk'],
  'src/kernel': ['src/common', 'src/spec', 'src/disk'],
  'src/provisioning': ['src/common', 'src/spec', 'src/disk', 'src/archive'],
  images: [
    'src/errors',
    'src/common',
    'src/spec',
    'src/cache',
    'src/disk',
    'src/archive',
    'src/packages',
    'src/kernel',
    'src/provisioning',
  ],
  'src/image': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/cache',
    'src/disk',
    'src/archive',
    'src/packages',
    'images',
  ],
  'src/host': ['src/errors', 'src/common', 'src/spec'],
  'src/budget': ['src/errors', 'src/common', 'src/host'],
  'src/qemu': ['src/errors', 'src/common', 'src/spec'],
  'src/channel': ['src/errors', 'src/common'],
  'src/net': ['src/errors', 'src/common', 'src/spec'],
  'src/vm/workspace': ['src/errors', 'src/common', 'src/budget', 'src/channel'],
  'src/vm/watch': ['src/errors', 'src/common', 'src/spec', 'src/channel'],
  'src/vm/machine': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/disk',
    'src/image',
    'src/provisioning',
    'src/host',
    'src/budget',
    'src/qemu',
    'src/channel',
    'src/net',
    'src/vm/workspace',
  ],
  'src/vm/session': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/host',
    'src/qemu',
    'src/channel',
    'src/vm/workspace',
    'src/vm/watch',
    'src/vm/machine',
  ],
  'src/vm/evidence': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/host',
    'src/qemu',
    'src/channel',
    'src/net',
    'src/vm/workspace',
    'src/vm/watch',
    'src/vm/machine',
    'src/vm/session',
  ],
  'src/vm/power': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/provisioning',
    'src/host',
    'src/budget',
    'src/qemu',
    'src/channel',
    'src/vm/workspace',
    'src/vm/watch',
    'src/vm/machine',
    'src/vm/session',
    'src/vm/evidence',
  ],
  'src/vm/guest': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/disk',
    'src/image',
    'src/host',
    'src/qemu',
    'src/channel',
    'src/net',
    'src/vm/watch',
    'src/vm/machine',
    'src/vm/session',
    'src/vm/evidence',
    'src/vm/power',
  ],
  'src/vm/fork': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/disk',
    'src/budget',
    'src/qemu',
    'src/channel',
    'src/vm/workspace',
    'src/vm/machine',
    'src/vm/power',
    'src/vm/guest',
  ],
  'src/vm/boot': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/disk',
    'src/image',
    'src/budget',
    'src/qemu',
    'src/vm/machine',
    'src/vm/session',
    'src/vm/evidence',
    'src/vm/power',
    'src/vm/guest',
    'src/vm/fork',
  ],
  'src/warm': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/cache',
    'src/disk',
    'src/provisioning',
    'src/host',
    'src/budget',
    'src/vm/workspace',
    'src/vm/machine',
    'src/vm/power',
    'src/vm/guest',
    'src/vm/boot',
  ],
  'src/import/command-line': ['src/common', 'src/spec'],
  'src/import/libvirt': ['src/errors', 'src/common', 'src/spec'],
  'src/launch': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/kernel',
    'src/image',
    'images',
    'src/host',
    'src/budget',
    'src/channel',
    'src/net',
    'src/vm/workspace',
    'src/vm/machine',
    'src/vm/power',
    'src/vm/guest',
    'src/vm/fork',
    'src/vm/boot',
    'src/warm',
    'src/import/command-line',
    'src/import/libvirt',
  ],
  'src/cli': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/cache',
    'src/disk',
    'src/packages',
    'src/image',
    'images',
    'src/host',
    'src/channel',
    'src/vm/workspace',
    'src/vm/guest',
    'src/warm',
    'src/import/libvirt',
    'src/launch',
  ],
  fixtures: [
    'src/errors',
    'src/common',
    'src/spec',
    'src/budget',
    'src/qemu',
    'src/channel',
    'src/net',
    'src/vm/watch',
    'src/vm/machine',
    'src/vm/session',
    'src/vm/evidence',
    'src/vm/power',
    'src/vm/guest',
    'src/launch',
  ],
}

/** The only module that imports each dependency; execa may be imported wherever a process is started. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  ssh2: ['src/channel/ssh'],
  '@xterm/headless': ['src/channel/serial'],
  vitest: ['fixtures'],
  pixelmatch: ['fixtures/matchers'],
  pngjs: ['src/vm/evidence'],
  zod: ['src/spec'],
  yaml: ['src/spec'],
  '@xmldom/xmldom': ['src/common/xml.ts'],
  'tmp-promise': ['src/vm/workspace'],
  'get-port': ['src/vm/machine'],
  commander: ['src/cli'],
  undici: ['src/image'],
  execa: ['src/common/process', 'src/host', 'src/qemu', 'src/packages', 'images'],
}

/** Maximum number of files in a folder: more files belong to several subjects. */
const MAX_FILES = 24

/** Maximum width of a line with a comment, columns. */
const MAX_COMMENT_COLUMNS = 100
/** A line of a comment, or code followed by a comment. */
const COMMENT = /^\s*(?:\/\/|\/?\*)| \/\/ [^'"`]*$/

const files = ['src', 'fixtures', 'images'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
)

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string)
}

/** Returns the files of this project that a file imports, including type-only imports. */
function ownImportsOf(file: string): string[] {
  return importsOf(file)
    .filter((name) => name.startsWith('.'))
    .map((name) => relative(ROOT, resolve(ROOT, dirname(file), name)).replace(/\.js$/, '.ts'))
}

/** Returns the module of a file: the longest entry of {@link ALLOWED} that its path starts with. */
function moduleOf(file: string): string {
  const path = file.replace(/\.ts$/, '')
  const found = MODULES.find((name) => path === name || path.startsWith(`${name}/`))
  if (found === undefined) throw new Error(`${file} is in no module of the table`)
  return found
}

const MODULES = Object.keys(ALLOWED)

test('modules import in one direction only', () => {
  const wrong = files.flatMap((file) => {
    const from = moduleOf(file)
    return ownImportsOf(file)
      .map(moduleOf)
      .filter((target) => target !== from && !ALLOWED[from]?.includes(target))
      .map(
        (target) =>
          `${file} imports from ${target}; ${from} may import from: ${ALLOWED[from]?.join(', ') || 'nothing'}`,
      )
  })
  expect(wrong).toEqual([])
})

test('the table of modules has no cycles and no unused entries', () => {
  const above = (name: string) => MODULES.slice(0, MODULES.indexOf(name))
  const downward = MODULES.flatMap((name) =>
    (ALLOWED[name] ?? [])
      .filter((target) => !above(name).includes(target))
      .map((target) => `${name} > ${target}`),
  )
  expect(downward).toEqual([])
  const used = new Set(
    files.flatMap((file) => ownImportsOf(file).map((target) => `${moduleOf(file)} > ${moduleOf(target)}`)),
  )
  const unused = MODULES.flatMap((name) =>
    (ALLOWED[name] ?? []).map((target) => `${name} > ${target}`),
  ).filter((edge) => !used.has(edge))
  expect(unused).toEqual([])
})

test('no imports of files form a cycle, not even type-only imports', () => {
  const finished = new Set<string>()
  const path: string[] = []
  const cycles: string[] = []
  const visit = (file: string): void => {
    if (finished.has(file)) return
    if (path.includes(file)) return void cycles.push([...path.slice(path.indexOf(file)), file].join(' > '))
    path.push(file)
    for (const target of ownImportsOf(file)) visit(target)
    path.pop()
    finished.add(file)
  }
  for (const file of files) visit(file)
  expect(cycles).toEqual([])
})

test(`no folder has more than ${MAX_FILES} files`, () => {
  const folders = new Map<string, number>()
  for (const file of files) folders.set(dirname(file), (folders.get(dirname(file)) ?? 0) + 1)
  expect([...folders].filter(([, count]) => count > MAX_FILES)).toEqual([])
})

/** Ways to start a program as another user, and a use of `asUser()` that drops the options of the start. */
const OTHER_USER = [
  /--re[ug]id/,
  /\bset(e|re|res)?[ug]id\(/,
  /\b(setgroups|initgroups)\(/,
  /'(su|runuser)'/,
  /\b(spawn|execa)\((?:[^()]|\([^()]*\))*\b[ug]id:/,
  /\b(settings|options) = \{[^}]*\b[ug]id:/,
  /\]\s*=\s*(await )?(asUser|setPrivileges|tieHelper)\(/,
] as const

test('only `asUser()` starts programs of another user', () => {
  const wrong = files
    .filter((file) => file !== 'src/common/process/as-user.ts')
    .flatMap((file) => {
      const text = readFileSync(join(ROOT, file), 'utf8')
      const code = text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
      return OTHER_USER.filter((way) => way.test(code)).map((way) => `${file}: ${way}`)
    })
  expect(wrong).toEqual([])
})

test('each dependency is imported only by its module', () => {
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .filter((name) => name in HOMES && !HOMES[name]?.some((home) => file.startsWith(home)))
      .map((name) => `${file} imports ${name}; its home is ${HOMES[name]?.join(', ')}`),
  )
  expect(wrong).toEqual([])
})

test(`no comment is wider than ${MAX_COMMENT_COLUMNS} columns`, () => {
  const wide = files.flatMap((file) =>
    readFileSync(join(ROOT, file), 'utf8')
      .split('\n')
      .flatMap((line, index) =>
        line.length > MAX_COMMENT_COLUMNS && COMMENT.test(line) ? [`${file}:${index + 1}`] : [],
      ),
  )
  expect(wide).toEqual([])
})
