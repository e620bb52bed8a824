import fc from 'fast-check'
import { expect, test } from 'vitest'
import { buildManualCommand, buildQemuCommand } from '../../../src/qemu/argv/build-command.js'
import type { BaseImage } from '../../../src/spec/base-image.js'
import type { MachineSpec } from '../../../src/spec/machine-spec.js'
import { optionSchema } from '../../../src/spec/option-schema.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { findOptionProblems } from '../../../src/spec/validate-options.js'
import { FUZZ } from '../../support/byte-fuzzer.js'
import { readShape, readValues } from '../../support/qemu-arguments.js'
import { SAMPLE_IMAGE, SAMPLE_WIRING } from '../../support/sample-machine.js'
import { listLeaves } from '../../support/schema-leaves.js'

const TIMEOUT_MS = 120_000 + 5 * FUZZ.inputs

const guestAt = (last: number) => `10.0.2.${last}:80`

/** Valid options that together set every option with a string value, except those in {@link EXCLUDED}. */
const SAMPLES: readonly VMOptions[] = [
  { firmware: { type: 'bios', file: '/f' } },
  {
    name: 'a',
    qemu: '/q',
    runAs: 'somebody',
    tmpdir: '/t',
    artifacts: '/a',
    machine: 'some-machine',
    memory: '128M',
    kernel: '/k',
    initrd: '/i',
    dtb: '/d',
    append: 'a',
    smbios: {
      manufacturer: 'a',
      product: 'b',
      version: 'c',
      serial: 'd',
      sku: 'e',
      family: 'f',
      uuid: '5f0c5b0e-8c5b-4a5c-9b0a-1d2e3f405162',
    },
    rtc: { base: '2030-01-31' },
    network: [
      {
        model: 'e1000',
        id: 'card',
        address: '10.1',
        mac: '52:54:00:00:00:07',
        tftp: '/tftp',
        bootfile: 'b',
        net: '10.0.2.0/24',
        host: '10.0.2.5',
        dhcpstart: '10.0.2.20',
        dns: '10.0.2.6',
        hostname: 'h',
        domainname: 'd',
        smb: '/smb',
        guestfwd: [
          { address: guestAt(100), socket: '/s' },
          { address: guestAt(101), tcp: '127.0.0.1:80' },
        ],
      },
      { hub: 'h' },
      { tap: 't' },
    ],
    hostfwd: [{ guest: 80, bind: '127.0.0.1' }],
    vnc: { socket: '/v', password: 'p' },
    spice: { port: 5900, bind: '127.0.0.1', password: 'p' },
    keyboardLayout: 'de',
    ports: [{ name: 'p' }],
    devices: [{ driver: 'virtio-rng-pci', id: 'd' }],
    debug: { log: ['unimp'], logFile: '/l' },
    systemDisk: { serial: 's' },
    disks: [{ size: '1M', serial: 's' }],
    numa: [{ memory: '128M' }],
    ssh: { user: 'u', privateKey: 'k', passphrase: 'p', password: 'p' },
    login: { user: 'u', password: 'p' },
    cloudInit: { userData: '#!/bin/sh', metaData: 'a: b', networkConfig: 'a: b' },
    limits: { disk: '1G', console: '1G' },
    timeouts: { start: '1s', body: '1s', command: '1s', shutdown: '1s' },
    keepOnFailure: '1s',
  },
  { boot: 'c', bootOnce: 'd', append: ['a'], vnc: { bind: '127.0.0.1' }, memory: { size: '64M', max: '1G' } },
  {
    ssh: { privateKey: { file: '/f' } },
    firmware: { type: 'uefi', vars: '/vars' },
    netboot: {
      root: '/root',
      files: { a: 'text' },
      tftpServerName: 't',
      httpBoot: 'b',
      http: { address: '10.0.2.80' },
    },
  },
  { netboot: { root: '/root', bootfile: 'b' } },
]

/** Options that are converted to others, or whose value consists of parts. Images are opened first, see `file` in {@link build}. */
const EXCLUDED = [
  'commandLine',
  'libvirtXML',
  'qemuArgs', // passed to QEMU unchanged
  'cpu', // a model with features: letters, digits and `.,+=-`
  'network[].guestfwd[].command', // a host command
]
const IS_IMAGE = /^(image|systemDisk\.image|disks\[\]\.image|hd[a-d]|cdrom|fd[ab])(\.|$)/

const PIECES = [
  ',',
  ',,',
  '=',
  '-',
  '--',
  ' ',
  '\n',
  '\r',
  '\t',
  '\0',
  '"',
  "'",
  '\\',
  '%',
  '$',
  '`',
  ';',
  ':',
  '/',
  '..',
  '{',
  '}',
  '\u0085',
  '\u2028',
  '\ud800',
  'é',
  'id',
  'file=',
  ',id=x',
  ',readonly=off',
  ',spawn=allow',
  '-device',
  '\n-monitor stdio',
  'exec:',
  'json:{}',
  'unix:',
  'tcp:',
  'on',
  'off',
]
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 6 })), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts) => parts.join(''))

type Path = readonly (string | number)[]

/** Returns the paths of all strings in a value. */
function listStrings(value: unknown, path: Path = []): Path[] {
  if (typeof value === 'string') return [path]
  if (typeof value !== 'object' || value === null) return []
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? value.map((item, index) => [index, item])
    : Object.entries(value)
  return entries.flatMap(([name, inner]) => listStrings(inner, [...path, name]))
}

const formatPath = (path: Path) =>
  path
    .map((part) => (typeof part === 'number' ? '[]' : `.${part}`))
    .join('')
    .replace('.', '')

function readString(value: unknown, path: Path): string {
  return path.reduce((at, part) => (at as Record<string, unknown>)[part], value) as string
}

function replaceString<T>(value: T, [first, ...rest]: Path, text: string): T {
  if (first === undefined) return text as T
  const inner = replaceString((value as Record<string, unknown>)[first], rest, text)
  if (Array.isArray(value)) return value.map((item, index) => (index === first ? inner : item)) as T
  return { ...value, [first]: inner }
}

/** Builds both command lines: for a run, and for manual use. `folder` contains all files. */
function build(options: VMOptions, folder = '/run'): string[][] {
  const wiring = Object.fromEntries(
    Object.entries(SAMPLE_WIRING).map(([name, value]) => [
      name,
      typeof value === 'string' && value.startsWith('/run/') ? value.replace('/run', () => folder) : value,
    ]),
  ) as unknown as typeof SAMPLE_WIRING
  const image: BaseImage = { ...SAMPLE_IMAGE, disk: { path: `${folder}/image`, format: 'qcow2' } }
  const file = (name: string) => ({ path: `${folder}/${name}`, format: 'raw' as const })
  const disks = (options.disks ?? []).map(() => file('disk'))
  const spec = resolveSpec({ standby: false, ...options }, image, disks) as MachineSpec
  const all = {
    ...wiring,
    disks,
    smbiosFiles: [`${folder}/smbios-0`],
    firmware: { code: file('code'), vars: file('vars') },
    tpmSocket: `${folder}/tpm.sock`,
    seedDisk: `${folder}/seed`,
    vncSecretFile: `${folder}/vnc`,
    spiceSecretFile: `${folder}/spice`,
    spiceSocket: `${folder}/spice.sock`,
    diskSecretFile: `${folder}/secret`,
    portSockets: [`${folder}/port.sock`],
    furtherMacs: ['52:54:00:12:34:57', '52:54:00:12:34:58'],
    memoryFiles: { paths: [`${folder}/ram`], isWritten: true },
    netboot: spec.netboot && {
      folder: `${folder}/tftp`,
      captureFile: `${folder}/wire`,
      relayCommand: 'relay',
      isFirst: true,
    },
  }
  return [buildQemuCommand(spec, all).args, buildManualCommand(spec, all).args].map((args) => [...args])
}

test('the samples cover every option with a string value', () => {
  const covered = new Set(SAMPLES.flatMap((sample) => listStrings(sample).map(formatPath)))
  const words = ['a', '/a/b', 'x:y', 'a=b', '-a', 'a,b', '1M', '1s', '10.0.2.3', '#!/bin/sh', 'https://x/y']
  const open = listLeaves(optionSchema)
    .filter(({ schema }) => words.some((word) => schema.safeParse(word).success))
    // A single card has the same schema as a card in a list.
    .map(({ path }) => path.replace(/^network\./, 'network[].'))
  const missing = open.filter(
    (path) => !covered.has(path) && !EXCLUDED.includes(path) && !IS_IMAGE.test(path),
  )
  // A list is covered by its elements.
  expect(missing.filter((path) => !covered.has(`${path}[]`))).toEqual([])
  expect(open.length).toBeGreaterThan(60)
  for (const sample of SAMPLES) expect(findOptionProblems(sample)).toEqual([])
})

const STRING_PATHS = SAMPLES.flatMap((sample) => listStrings(sample).map((path) => ({ sample, path })))

/** Strings that are tried at each path, in addition to random ones. */
const FIXED = [',file=/etc/passwd', '-device', 'a=b,c', ',,', '\n-monitor stdio', ' ', ':/..\\"\'%$`;{}']

test(
  'no value of an option adds another QEMU option',
  () => {
    const plain = new Map(SAMPLES.map((sample) => [sample, build(sample).map(readShape)]))
    const testedPaths = new Set<string>()
    const check = ({ sample, path }: (typeof STRING_PATHS)[number], text: string) => {
      const options = replaceString(sample, path, text)
      if (findOptionProblems(options).length > 0) return
      testedPaths.add(formatPath(path))
      expect(build(options).map(readShape), formatPath(path)).toEqual(plain.get(sample))
    }
    for (const place of STRING_PATHS) for (const text of FIXED) check(place, text)
    const anyPath = fc.constantFrom(...STRING_PATHS)
    fc.assert(
      fc.property(anyPath, hostile, fc.boolean(), (place, text, isAppended) => {
        check(place, isAppended ? readString(place.sample, place.path) + text : text)
      }),
      { numRuns: Math.ceil(FUZZ.inputs / 5), seed: FUZZ.seed },
    )
    expect(testedPaths.size).toBeGreaterThan(30)
  },
  TIMEOUT_MS,
)

test(
  'no name of a host folder adds another QEMU option',
  () => {
    const plain = new Map(SAMPLES.map((sample) => [sample, build(sample).map(readShape)]))
    fc.assert(
      fc.property(fc.constantFrom(...SAMPLES), hostile, (sample, text) => {
        const folder = `/${text.replaceAll('\0', '')}`
        const lines = build(sample, folder)
        expect(lines.map(readShape)).toEqual(plain.get(sample))
        expect(readValues(lines[0] as string[])).toContain(`${folder}/qmp.sock`)
      }),
      { numRuns: Math.ceil(FUZZ.inputs / 10), seed: FUZZ.seed },
    )
  },
  TIMEOUT_MS,
)

test('a string with a null byte, or with a line feed in `network.smb`, is rejected', () => {
  const isContent = (path: Path) => formatPath(path).startsWith('netboot.files.')
  for (const { sample, path } of STRING_PATHS.filter((place) => !isContent(place.path)))
    expect(findOptionProblems(replaceString(sample, path, 'a\0b')), formatPath(path)).not.toEqual([])
  const folder = { network: { smb: '/a\nforce user = root' } }
  expect(findOptionProblems(folder).map(({ path }) => path)).toEqual(['network.smb'])
})
