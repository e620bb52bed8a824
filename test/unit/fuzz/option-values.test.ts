import fc from 'fast-check'
import { expect, test } from 'vitest'
import { buildCommandByHand, buildQemuCommand } from '../../../src/qemu/argv/build-command.js'
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

/** Valid options which together have every option that takes a text, but for those that are {@link LEFT_OUT}. */
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

/** Options that are made of others, or whose text is meant to have parts. Images are opened first: see `files`, below. */
const LEFT_OUT = [
  'commandLine',
  'libvirtXML',
  'qemuArgs', // options of QEMU, as they are
  'cpu', // a model with its features, of letters, digits and `.,+=-`
  'network[].guestfwd[].command', // a command of the author's
]
const IS_IMAGE = /^(image|systemDisk\.image|disks\[\]\.image|hd[a-d]|cdrom|fd[ab])(\.|$)/

const PIECES = [
  ',', ',,', '=', '-', '--', ' ', '\n', '\r', '\t', '\0', '"', "'", '\\', '%', '$', '`', ';', ':', '/', '..', '{', '}', '\u0085', '\u2028', '\ud800', 'é',
  'id', 'file=', ',id=x', ',readonly=off', ',spawn=allow', '-device', '\n-monitor stdio', 'exec:', 'json:{}', 'unix:', 'tcp:', 'on', 'off',
] // biome-ignore format: a list of short texts
const hostile = fc
  .array(fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 6 })), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts) => parts.join(''))

type Path = readonly (string | number)[]

/** The places of all texts in a value. */
function listTexts(value: unknown, path: Path = []): Path[] {
  if (typeof value === 'string') return [path]
  if (typeof value !== 'object' || value === null) return []
  const entries: [string | number, unknown][] = Array.isArray(value)
    ? value.map((item, index) => [index, item])
    : Object.entries(value)
  return entries.flatMap(([name, inner]) => listTexts(inner, [...path, name]))
}

const formatPath = (path: Path) =>
  path
    .map((part) => (typeof part === 'number' ? '[]' : `.${part}`))
    .join('')
    .replace('.', '')

function readText(value: unknown, path: Path): string {
  return path.reduce((at, part) => (at as Record<string, unknown>)[part], value) as string
}

function replaceText<T>(value: T, [first, ...rest]: Path, text: string): T {
  if (first === undefined) return text as T
  const inner = replaceText((value as Record<string, unknown>)[first], rest, text)
  if (Array.isArray(value)) return value.map((item, index) => (index === first ? inner : item)) as T
  return { ...value, [first]: inner }
}

/** Builds both command lines: for a run, and for a person. `folder` is where all files are. */
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
    memoryFile: { path: `${folder}/ram`, isWritten: true },
    netboot: spec.netboot && {
      folder: `${folder}/tftp`,
      captureFile: `${folder}/wire`,
      relayCommand: 'relay',
      isFirst: true,
    },
  }
  return [buildQemuCommand(spec, all).args, buildCommandByHand(spec, all).args].map((args) => [...args])
}

test('the samples have every option that takes a text', () => {
  const covered = new Set(SAMPLES.flatMap((sample) => listTexts(sample).map(formatPath)))
  const words = ['a', '/a/b', 'x:y', 'a=b', '-a', 'a,b', '1M', '1s', '10.0.2.3', '#!/bin/sh', 'https://x/y']
  const open = listLeaves(optionSchema)
    .filter(({ schema }) => words.some((word) => schema.safeParse(word).success))
    // One card is as one of a list.
    .map(({ path }) => path.replace(/^network\./, 'network[].'))
  const missing = open.filter(
    (path) => !covered.has(path) && !LEFT_OUT.includes(path) && !IS_IMAGE.test(path),
  )
  // A list that is one value has its texts in it.
  expect(missing.filter((path) => !covered.has(`${path}[]`))).toEqual([])
  expect(open.length).toBeGreaterThan(60)
  for (const sample of SAMPLES) expect(findOptionProblems(sample)).toEqual([])
})

const PLACES = SAMPLES.flatMap((sample) => listTexts(sample).map((path) => ({ sample, path })))

/** Each is tried at each place, whatever the random texts are. */
const FIXED = [',file=/etc/passwd', '-device', 'a=b,c', ',,', '\n-monitor stdio', ' ', ':/..\\"\'%$`;{}']

test(
  'no value of an option becomes another option of QEMU',
  () => {
    const plain = new Map(SAMPLES.map((sample) => [sample, build(sample).map(readShape)]))
    const taken = new Set<string>()
    const check = ({ sample, path }: (typeof PLACES)[number], text: string) => {
      const options = replaceText(sample, path, text)
      if (findOptionProblems(options).length > 0) return
      taken.add(formatPath(path))
      expect(build(options).map(readShape), formatPath(path)).toEqual(plain.get(sample))
    }
    for (const place of PLACES) for (const text of FIXED) check(place, text)
    const anyPlace = fc.constantFrom(...PLACES)
    fc.assert(
      fc.property(anyPlace, hostile, fc.boolean(), (place, text, isAppended) => {
        check(place, isAppended ? readText(place.sample, place.path) + text : text)
      }),
      { numRuns: Math.ceil(FUZZ.inputs / 5), seed: FUZZ.seed },
    )
    expect(taken.size).toBeGreaterThan(30)
  },
  TIMEOUT_MS,
)

test(
  'no name of a folder of this host becomes another option of QEMU',
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

test('a text that cannot be in a command line, or that would be another line of a file, is refused', () => {
  const isContent = (path: Path) => formatPath(path).startsWith('netboot.files.')
  for (const { sample, path } of PLACES.filter((place) => !isContent(place.path)))
    expect(findOptionProblems(replaceText(sample, path, 'a\0b')), formatPath(path)).not.toEqual([])
  const folder = { network: { smb: '/a\nforce user = root' } }
  expect(findOptionProblems(folder).map(({ path }) => path)).toEqual(['network.smb'])
})
