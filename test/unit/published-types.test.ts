import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { execa } from 'execa'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { GuestPort } from '../../src/channel/port/guest-port.js'
import { Keyboard } from '../../src/channel/qmp/keyboard.js'
import { QmpClient } from '../../src/channel/qmp/qmp-client.js'
import { SerialConsole } from '../../src/channel/serial/serial-console.js'
import { SerialScreen } from '../../src/channel/serial/serial-screen.js'
import { Mouse } from '../../src/vm/guest/display/mouse.js'
import { Media } from '../../src/vm/guest/plug/media.js'
import { Plug } from '../../src/vm/guest/plug/plug.js'
import { PluggedDevice } from '../../src/vm/guest/plug/plugged-device.js'
import { VM } from '../../src/vm/guest/vm.js'
import { WaitFor } from '../../src/vm/guest/wait-for.js'
import { buildCli } from '../support/built-cli.js'
import {
  type Declaration,
  ENTRY_POINTS,
  findReachable,
  readPublishedTypes,
  type TypesFile,
} from '../support/published-types.js'

/** Classes whose methods are calls on a guest. */
const CLASSES: readonly { readonly name: string; readonly prototype: object }[] = [
  ...[VM, WaitFor, SerialConsole, SerialScreen, GuestPort, QmpClient, Keyboard, Mouse],
  ...[Plug, PluggedDevice, Media],
]

const ROOT = resolve(import.meta.dirname, '../..')
/** Configuration that resolves `withvm` to the published types. */
const PUBLISHED = 'test/types/tsconfig.published.json'

/** Members of each class that a test author can reach. All others are `@internal`. */
const MEMBERS: Readonly<Record<string, readonly string[]>> = {
  VM: [
    ...['ssh', 'serial', 'keyboard', 'mouse', 'plug', 'media', 'waitFor'],
    ...[
      'name',
      'id',
      'qmp',
      'hasNetboot',
      'netboot',
      'isRunning',
      'pid',
      'runFolder',
      'baseDisk',
      'accelerator',
    ],
    ...['startedFrom', 'timeFactor', 'lost', 'bootCount', 'timeline', 'qemuCommand', 'commandLine', 'gdb'],
    ...['importReport', 'sshCommandLine', 'hostPort', 'port', 'url', 'exec'],
    ...['upload', 'download', 'always', 'markLogs', 'reboot', 'shutdown', 'powerCut', 'start', 'wait'],
    ...['waitUntilReady', 'saveLogs', 'keep', 'checkpoints', 'checkpoint', 'restore', 'canBeKept'],
    ...['screenshot', 'press', 'type', 'vnc', 'spice', 'setLink', 'balloon', 'throttle', 'memory', 'fork'],
    ...['dispose', '[Symbol.asyncDispose]'],
  ],
  WaitFor: [
    ...['unit', 'file', 'port', 'process', 'serial', 'log', 'reboot', 'shutdown', 'url', 'command'],
    ...['check', 'all', 'any'],
  ],
  SerialConsole: [
    ...['logPath', 'logFailure', 'text', 'lines', 'tail', 'mark', 'since', 'printedBytes', 'silentMs'],
    ...['waitFor', 'write', 'type', 'press', 'login', 'screen', 'onText', '[Symbol.asyncIterator]'],
  ],
  SerialScreen: ['lines', 'text', 'cursor', 'columns', 'rows', 'waitFor'],
  GuestPort: ['name', 'received', 'text', 'mark', 'since', 'write', 'waitFor'],
  QmpClient: ['greeting', 'execute', 'on', 'onAny', 'waitForEvent'],
  Keyboard: ['press', 'type'],
  Mouse: ['move', 'click', 'down', 'up'],
  Plug: ['list', 'disk', 'card', 'cpu', 'memory', 'device'],
  PluggedDevice: ['id', 'unplug', '[Symbol.asyncDispose]'],
  Media: ['insert', 'eject'],
  ShellSession: ['stream', 'ended', 'resize', 'close'],
  PreparedImage: ['prepare'],
  PreparedSource: ['source', 'steps'],
  ImageDefinition: ['options'],
  VMError: ['name', 'code', 'kind', 'hint', 'evidence', 'details', 'constructor'],
  InfrastructureError: ['name'],
  UsageError: ['name'],
  GuestError: ['name'],
  CommandError: [
    ...['name', 'command', 'stdout', 'stderr', 'exitCode', 'signal', 'durationMs', 'constructor'],
  ],
}

/** Classes of the fields of a guest that have members of their own. */
const FIELDS: Readonly<Record<string, string>> = {
  serial: 'SerialConsole',
  keyboard: 'Keyboard',
  mouse: 'Mouse',
  plug: 'Plug',
  media: 'Media',
  waitFor: 'WaitFor',
  qmp: 'QmpClient',
}

/**
 * Types that no signature names: parts of an exported type, which an editor shows as members of that
 * type.
 */
const PARTS: readonly string[] = [
  ...['DiskOptionGroup', 'MachineOptions', 'BootOptionGroup', 'NetworkOptionGroup', 'DisplayOptionGroup'],
  ...['DeviceOptionGroup', 'DebugOptionGroup', 'RunOptions', 'GuestHandle'],
  ...['Terminal', 'DownloadLimits', 'SshExecOptions', 'MatcherOptions'],
]

const MEMBER = /^ {4}(?:(?:static|readonly|get|set) )*(\w+|\[[\w.]+\])\??[(<:;]/

function listMembers({ text }: Declaration): string[] {
  const names = text.split('\n').flatMap((line) => MEMBER.exec(line)?.[1] ?? [])
  return [...new Set(names)].sort()
}

let files: ReadonlyMap<string, TypesFile>

beforeAll(async () => {
  await buildCli()
  files = readPublishedTypes()
}, 120_000)

test('the published types show the public members of each class, and no internal members', () => {
  const classes = [...findReachable(files)].filter(([, { kind }]) => kind === 'class')
  const shown = Object.fromEntries(classes.map(([name, declaration]) => [name, listMembers(declaration)]))
  const expected = Object.entries(MEMBERS).map(([name, members]) => [name, [...members].sort()])
  expect(shown).toEqual(Object.fromEntries(expected))
})

/** Methods that return promises but are no calls of a test, with the reason. */
const UNTRACED: Readonly<Record<string, string>> = {
  'VM.dispose': 'reports the calls',
  'SerialConsole.screen': 'its promise has members of its own, so it traces itself',
}

test('a missing `await` is detected for each public method that returns a promise', () => {
  const untraced = [...findReachable(files)].flatMap(([name, { kind, text }]) => {
    const { prototype } = CLASSES.find((known) => known.name === name) ?? {}
    if (kind !== 'class' || prototype === undefined) return []
    const methods = [...text.matchAll(/^ {4}(\w+)(?:<.*?>)?\(.*\): Promise</gm)].map(([, method]) =>
      String(method),
    )
    return [...new Set(methods)]
      .filter((method) => (Reflect.get(prototype, method) as { name?: string }).name !== 'traced')
      .map((method) => `${name}.${method}`)
  })
  expect(untraced.sort()).toEqual(Object.keys(UNTRACED).sort())
})

test('source maps lead to sources that are in the package', () => {
  const folder = join(ROOT, 'dist/src/vm')
  const maps = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js.map'),
  )
  expect(maps.length).toBeGreaterThan(50)
  for (const map of maps) {
    const { sources } = JSON.parse(readFileSync(join(folder, map), 'utf8')) as { sources: readonly string[] }
    const path = join(folder, dirname(map), String(sources[0]))
    expect(path.startsWith(join(ROOT, 'src/')) && existsSync(path), path).toBe(true)
  }
})

test('each type that a published signature names can be imported', () => {
  const exported = ENTRY_POINTS.flatMap((file) => [...(files.get(file)?.exports.keys() ?? [])])
  const named = [...findReachable(files)].filter(
    ([, { kind, text }]) => (kind === 'interface' || kind === 'type') && text.startsWith('export'),
  )
  const hidden = named.map(([name]) => name).filter((name) => !exported.includes(name))
  expect(hidden.sort()).toEqual([...PARTS].sort())
})

test('errors are the only classes that users can construct', () => {
  const values = ENTRY_POINTS.flatMap((file) =>
    [...(files.get(file)?.exports ?? [])].filter(([, { isType }]) => !isType).map(([name]) => name),
  )
  const reachable = findReachable(files)
  const classes = values.filter((name) => reachable.get(name)?.kind === 'class')
  expect(classes.sort()).toEqual([
    'CommandError',
    'GuestError',
    'InfrastructureError',
    'UsageError',
    'VMError',
  ])
})

test('the examples compile with the published types, even with `skipLibCheck: false`', async () => {
  const { stdout } = await execa('npx', ['tsc', '-p', PUBLISHED], { cwd: ROOT, reject: false })
  expect(stdout).toBe('')
}, 120_000)

test('the documentation uses public members only', () => {
  const hidden = ['README.md', ...listPages('docs')].flatMap((page) => {
    const text = readFileSync(join(ROOT, page), 'utf8')
    return [...text.matchAll(/(?<![\w/.])vm\.(\w+)(?:\.(\w+))?/g)].flatMap(([whole, field = '', member]) => {
      const ofField = MEMBERS[FIELDS[field] ?? '']
      const isPublic = member === undefined || ofField === undefined || ofField.includes(member)
      return isPublic && MEMBERS.VM?.includes(field) ? [] : [`${page}: ${whole}`]
    })
  })
  expect(hidden).toEqual([])
})

test('the pages of the API document each public member', () => {
  const sections = listPages('docs/api').flatMap((page) =>
    readFileSync(join(ROOT, page), 'utf8').split(/^(?=## )/m),
  )
  const missing = Object.entries(MEMBERS).flatMap(([name, members]) => {
    const section = sections.find(
      (text) => text.includes(`is of type \`${name}\``) || text.startsWith(`## ${name}\n`),
    )
    const documented = [
      ...(section ?? '').matchAll(/^(?:### `.*?\.?|- `)(\w+|\[[\w.]+\])(?:\(\))?`(?:$|: )/gm),
    ]
    const known = documented.map(([, member]) => member)
    return members
      .filter((member) => member !== 'constructor' && !known.includes(member))
      .map((member) => `${name}: ${member}`)
  })
  expect(missing).toEqual([])
})

test('each name that the package exports is on a reference page', () => {
  const pages = [...listPages('docs/api'), 'docs/options.md']
    .map((page) => readFileSync(join(ROOT, page), 'utf8'))
    .join('')
  const names = ENTRY_POINTS.flatMap((file) => [...(files.get(file)?.exports.keys() ?? [])])
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(pages))).toEqual([])
})

test('a public export or member without a comment fails the generation of the documentation', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'types-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  cpSync(join(ROOT, 'dist'), join(folder, 'dist'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(folder, 'package.json'))
  for (const name of ['node_modules', 'src', 'test', 'examples', 'docs'])
    symlinkSync(join(ROOT, name), join(folder, name))
  const types = join(folder, 'dist/src/vm/guest/wait-for.d.ts')
  const text = readFileSync(types, 'utf8')
  writeFileSync(types, text.replace(/\/\*\*(?:(?!\*\/)[\s\S])*\*\/\s*(?=unit\()/, ''))
  const generate = join(folder, 'docs/generate.mjs')
  const args = ['--preserve-symlinks', '--preserve-symlinks-main', generate, '--check']
  const { stderr } = await execa(process.execPath, args, { reject: false })
  expect(stderr).toContain('docs/generate: these have no comment: vm.waitFor.unit()')
})

function listPages(folder: string): string[] {
  const names = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith('.md'))
  return names.map((name) => join(folder, name))
}
