import fc from 'fast-check'
import { expect, test } from 'vitest'
import { quoteWord } from '../../../../src/common/process/shell-quote.js'
import { parseParameters } from '../../../../src/import/command-line/parameters.js'
import { parseCommandLine } from '../../../../src/import/command-line/parse-command-line.js'
import { buildManualCommand } from '../../../../src/qemu/argv/build-command.js'
import type { BaseImage } from '../../../../src/spec/base-image.js'
import { listDisks, readDiskSource, readSystemDisk } from '../../../../src/spec/list-disks.js'
import type { DiskConnection } from '../../../../src/spec/options/disks.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { anyMachine } from '../../../support/any-machine.js'

const machines = anyMachine({
  raw: '/images/a,id=x.raw',
  qcow2: "/images/-b c'.qcow2",
  folder: '/srv/,restrict=off\n',
  kernel: '/boot/vmlinuz',
}) as fc.Arbitrary<VMOptions>

const TRAITS = {
  sshUser: 'root',
  credentials: 'none',
  hasAgent: false,
  mayHaveCloudInit: false,
  bootTimeFactor: 1,
} as const
const DEFAULTS = { memoryBytes: 512 * 1024 ** 2, cpus: 1 }
const runs = Number(process.env.WITHVM_PROPERTY_RUNS ?? 300)

/** Returns the spec of options, with inspected images, and the manual command line. */
function plan(options: VMOptions) {
  const fileOf = (source: VMOptions['image']): BaseImage['disk'] =>
    typeof source === 'object' && 'path' in source && source.format !== undefined
      ? { path: source.path, format: source.format }
      : undefined
  const { image: source } = readSystemDisk(options)
  const disk = fileOf(source)
  const image: BaseImage | undefined = disk && { name: 'guest', disk, traits: TRAITS, defaults: DEFAULTS }
  const spec = resolveSpec(
    options,
    image,
    listDisks(options).map((listed) => fileOf(readDiskSource(listed.disk))),
  )
  const { args } = buildManualCommand(spec, {
    qemuPath: 'qemu-system-x86_64',
    accelerator: 'tcg',
    hostPorts: spec.forwards.map(({ host }) => host ?? 0),
    mac: spec.network.mac ?? '52:54:00:00:00:01',
    furtherMacs: spec.furtherNetworks.map(({ mac }, index) => mac ?? `52:54:00:00:01:0${index}`),
  })
  return { spec, args }
}

function isOrderedFloppy(disk: DiskConnection | undefined): boolean {
  return disk?.interface === 'floppy' && disk.bootIndex !== undefined
}

test('`vm.commandLine` of any guest can be imported as the same guest', () => {
  fc.assert(
    fc.property(machines, (options) => {
      // Without a system disk, the import uses the first other bootable disk as the system disk.
      fc.pre(options.image !== false || options.disks === undefined)
      // The boot index of a floppy disk is an option of its controller, which is imported as a raw argument, after the others.
      fc.pre(![options.systemDisk, ...(options.disks ?? [])].some(isOrderedFloppy))
      const { args } = plan(options)
      const line = ['qemu-system-x86_64', ...args].map((word) => quoteWord(word)).join(' ')
      const { options: read } = parseCommandLine(line, { isFile: () => false, hasTerminal: true })
      const again = plan({ ...read, ssh: false })
      expect(again.args).toEqual(args)
    }),
    { numRuns: runs },
  )
})

test('no value of an option can add another QEMU option', () => {
  fc.assert(
    fc.property(machines, (options) => {
      const harmless = replaceTexts(options)
      expect(shape(plan(options).args)).toEqual(shape(plan(harmless).args))
    }),
    { numRuns: runs },
  )
})

/** Returns the flags and the names of their parts, without values. */
function shape(args: readonly string[]): unknown[] {
  return args.map((word, index) => {
    if (args[index - 1] === '-append') return 'a value'
    if (word.startsWith('-')) return word
    return parseParameters(word, 'value').map(([key]) => key)
  })
}

/** Returns the same options with all strings reduced to letters. */
function replaceTexts(options: VMOptions): VMOptions {
  const copy = structuredClone(options) as Record<string, unknown> & VMOptions
  const replace = (owner: object | undefined, key: string) => {
    if (owner !== undefined && key in owner) (owner as Record<string, unknown>)[key] = 'harmless'
  }
  for (const disk of [copy.systemDisk, ...(copy.disks ?? [])]) replace(disk, 'serial')
  for (const card of [copy.network ?? []].flat()) {
    for (const key of ['tftp', 'bootfile', 'hostname']) replace(card, key)
  }
  for (const key of ['name', 'append']) {
    // An empty string is equal to no value.
    if (key !== 'append' || [copy.append ?? []].flat().join(' ') !== '') replace(copy, key)
  }
  return copy
}
