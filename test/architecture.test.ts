import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '..')

/** Which rooms a room may import from, beside itself. `docs/architecture.md` draws it. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  'src/errors': [],
  'src/common': ['src/errors'],
  'src/spec': ['src/errors', 'src/common'],
  'src/host': ['src/errors', 'src/common', 'src/spec'],
  'src/budget': ['src/errors', 'src/common', 'src/spec', 'src/host'],
  'src/image': ['src/errors', 'src/common', 'src/spec'],
  images: ['src/errors', 'src/common', 'src/spec', 'src/image'],
  'src/qemu': ['src/errors', 'src/common', 'src/spec'],
  'src/channel': ['src/errors', 'src/common'],
  'src/net': ['src/errors', 'src/common', 'src/spec'],
  'src/vm': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/host',
    'src/budget',
    'src/image',
    'images',
    'src/qemu',
    'src/channel',
    'src/net',
  ],
  'src/warm': ['src/errors', 'src/common', 'src/spec', 'src/budget', 'src/image', 'src/vm'],
  'src/libvirt': ['src/errors', 'src/common', 'src/spec'],
  'src/launch': [
    'src/command-line',
    'src/libvirt',
    'src/errors',
    'src/common',
    'src/spec',
    'src/host',
    'src/budget',
    'images',
    'src/vm',
    'src/warm',
  ],
  'src/command-line': ['src/errors', 'src/common', 'src/spec'],
  'src/cli': [
    'src/errors',
    'src/common',
    'src/spec',
    'src/host',
    'src/image',
    'src/qemu',
    'src/channel',
    'src/vm',
    'src/warm',
    'src/launch',
    'src/libvirt',
    'images',
  ],
  fixtures: [
    'src/errors',
    'src/common',
    'src/spec',
    'src/budget',
    'src/channel',
    'src/net',
    'src/vm',
    'src/launch',
  ],
}

/** The one home of each dependency; execa is at home wherever a process is started. */
const HOMES: Readonly<Record<string, readonly string[]>> = {
  ssh2: ['src/channel/ssh'],
  '@xterm/headless': ['src/channel/serial'],
  vitest: ['fixtures'],
  pixelmatch: ['fixtures/matchers'],
  pngjs: ['src/vm/display'],
  zod: ['src/spec'],
  yaml: ['src/spec'],
  '@xmldom/xmldom': ['src/common/xml.ts'],
  'tmp-promise': ['src/vm/workspace.ts'],
  'get-port': ['src/vm/port-reservation.ts'],
  commander: ['src/cli'],
  execa: ['src/host', 'src/image', 'src/qemu', 'images'],
}

const files = ['src', 'fixtures', 'images'].flatMap((room) =>
  readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(room, name)),
)

function importsOf(file: string): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1] as string)
}

function roomOf(file: string): string {
  const [top, second] = file.split('/')
  return top === 'src' ? `src/${second?.replace(/\.[jt]s$/, '')}` : (top as string)
}

test('rooms import in one direction only', () => {
  const wrong = files.flatMap((file) => {
    const room = roomOf(file)
    return importsOf(file)
      .filter((name) => name.startsWith('.'))
      .map((name) => roomOf(relative(ROOT, resolve(ROOT, dirname(file), name))))
      .filter((target) => target !== room && !ALLOWED[room]?.includes(target))
      .map(
        (target) =>
          `${file} imports from ${target}; ${room} may import from: ${ALLOWED[room]?.join(', ') || 'nothing'}`,
      )
  })
  expect(wrong).toEqual([])
})

test('each dependency has one home', () => {
  const wrong = files.flatMap((file) =>
    importsOf(file)
      .filter((name) => name in HOMES && !HOMES[name]?.some((home) => file.startsWith(home)))
      .map((name) => `${file} imports ${name}; its home is ${HOMES[name]?.join(', ')}`),
  )
  expect(wrong).toEqual([])
})

test('every room of the table exists, so that the table does not go stale', () => {
  const rooms = new Set(files.map(roomOf))
  expect(Object.keys(ALLOWED).filter((room) => !rooms.has(room))).toEqual([])
})
