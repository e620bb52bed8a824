import { parseAliases, parseInterfaces } from './interfaces.mjs'
import { code, fence, madeFrom, table, value } from './markdown.mjs'
import { ROWS } from './rows.mjs'

const OPTIONS = 'src/spec/options.ts'
const IMAGES = 'src/spec/image-source.ts'
const NETBOOT = 'src/spec/netboot.ts'

/** Groups of options: title, file and interface. */
const GROUPS = [
  ['Machine, CPU, memory and clock', 'src/spec/options/machine.ts', 'MachineOptions'],
  ['Disks', 'src/spec/options/disks.ts', 'DiskOptionGroup'],
  ['Firmware and boot', 'src/spec/options/firmware.ts', 'BootOptionGroup'],
  ['Network', 'src/spec/options/network.ts', 'NetworkOptionGroup'],
  ['Display and input', 'src/spec/options/display.ts', 'DisplayOptionGroup'],
  ['Sound and other devices', 'src/spec/options/devices.ts', 'DeviceOptionGroup'],
  ['Debugging', 'src/spec/options/debug.ts', 'DebugOptionGroup'],
  ['The run', OPTIONS, 'RunOptions'],
]

/** Headings of the object forms of `image`. */
const IMAGE_OBJECTS = { FileImage: 'image, of this host', UrlImage: 'image, downloaded' }

/** Calls with options: title, file and interface. */
const CALLS = [
  ['`vm.ssh(command, …)`', 'src/vm/guest/ssh-function.ts', 'SshCommandOptions'],
  ['', 'src/channel/ssh/ssh-client.ts', 'SshExecOptions'],
  ['`vm.exec(command, …)`', 'src/channel/command-result.ts', 'CommandOptions'],
  ['`vm.download(guestPath, localPath, …)`', 'src/channel/ssh/transfer-limits.ts', 'DownloadLimits'],
  ['`vm.serial.waitFor(pattern, …)`', 'src/channel/serial/serial-console.ts', 'SerialWait'],
  ['`vm.start(…)`', 'src/vm/power/power.ts', 'StartOptions'],
  ['`vm.shutdown(…)`, `vm.reboot(…)`, `vm.wait(…)`', 'src/vm/power/power.ts', 'StopOptions'],
]

/** Meanings of options that are the same for every call. */
export const COMMON = {
  signal: "Aborts the call, which rejects with the signal's reason.",
  timeout: 'Time limit of the wait.',
  encoding: 'Type of stdout and stderr: text, or a Buffer each.',
  waitUntilReady: 'If true, waits until the guest is ready, not only until QEMU runs.',
}

/** Files with the types that the tables refer to. */
const ALIASES = [
  ...new Set(GROUPS.map(([, path]) => path)),
  IMAGES,
  NETBOOT,
  'src/common/duration.ts',
  'src/common/units.ts',
]

export async function optionsPage({ read, load }) {
  const images = parseInterfaces(read(IMAGES), IMAGES)
  const { DISK_FORMATS } = await load('src/spec/base-image.js')
  const parts = [
    madeFrom(...new Set(GROUPS.map(([, path]) => path)), IMAGES, NETBOOT),
    '# Options',
    'Options of `withVM(options, body)` and `launchVM(options)`. All problems with the options are reported in one error, with the path of each, before anything is started. The column QEMU contains the arguments that an option becomes; `vm.commandLine` is the complete command line.',
  ]
  for (const [title, path, name] of GROUPS) {
    const interfaces = [path, NETBOOT].flatMap((file) => parseInterfaces(read(file), file))
    const group = interfaces.find((one) => one.name === name)
    parts.push(`## ${title}`, group.text === `${title}.` ? '' : group.text, optionTable(group))
    const addNested = (outer, before) => {
      for (const { prefix, nested } of nestedOptions(outer, interfaces)) {
        const path = before + prefix
        parts.push(`### ${code(path.slice(0, -1))}`, nested.text, optionTable(nested, path))
        addNested(nested, path)
      }
    }
    addNested(group, '')
    if (name !== 'DiskOptionGroup') continue
    for (const image of images) {
      parts.push(`### ${IMAGE_OBJECTS[image.name]}`, image.text, optionTable(image, 'image.'))
    }
  }
  parts.push('## Types')
  for (const path of ALIASES) {
    for (const { name, text, type } of parseAliases(read(path))) {
      parts.push(`### ${name}`, text, fence('ts', `type ${name} = ${type}`))
    }
  }
  parts.push(`### DiskFormat`, `One of ${DISK_FORMATS.map((name) => code(`'${name}'`)).join(', ')}.`)
  parts.push('# Options of calls', ...callTables(read))
  parts.push('# From qemu-kvm', ...rowTable())
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

/** Returns the interfaces that are the types of members, each once, including inherited members. */
function nestedOptions(group, interfaces) {
  const known = new Map(interfaces.map((one) => [one.name, one]))
  return group.members.flatMap((member) => {
    const nested = interfaces.find(
      ({ name }) => name !== group.name && new RegExp(`\\b${name}\\b`).test(member.type),
    )
    if (nested === undefined) return []
    return [{ prefix: prefixOf(member), nested: { ...nested, members: withInherited(nested, known) } }]
  })
}

function prefixOf({ name, type }) {
  if (type.includes('Record<string,')) return `${name}['path'].`
  return type.endsWith('[]') && !type.includes('|') ? `${name}[].` : `${name}.`
}

function optionTable({ members }, prefix = '') {
  const hasQemu = members.some(({ qemu }) => qemu !== undefined)
  const head = ['Option', 'Type', 'Default', 'Meaning', ...(hasQemu ? ['QEMU'] : [])]
  const rows = members.map((member) => [
    code(prefix + member.name),
    code(member.type.replaceAll(/\breadonly /g, '').replaceAll('PreparedSource', 'PreparedImage')),
    member.isRequired ? '(required)' : value(member.default ?? ''),
    meaningOf(member, prefix),
    ...(hasQemu ? [member.qemu ?? ''] : []),
  ])
  return table(head, rows)
}

function meaningOf({ name, text }, prefix) {
  const meaning = text || COMMON[name]
  if (meaning) return meaning
  throw new Error(`docs/generate: the option ${prefix}${name} has no docstring`)
}

/** Returns the table of arguments of qemu-kvm, the equivalent options and their tests. */
function rowTable() {
  const rows = ROWS.map(({ known, options, tests = [], gap }) => [
    known,
    options.map(code).join(', '),
    gap === undefined
      ? tests
          .map(
            ([file, title]) => `${title.replaceAll(/%[sj]/g, '…')} ([${file.split('/').at(-1)}](../${file}))`,
          )
          .join('; ')
      : 'none yet',
  ])
  return [
    'Arguments of `qemu-kvm`, the equivalent options, and the tests that start a guest or QEMU to verify them. The option `commandLine` accepts a complete command line.',
    table(['On the command line', 'Option', 'Tests'], rows),
  ]
}

function callTables(read) {
  const known = new Map()
  for (const [, path, name] of CALLS) {
    for (const found of parseInterfaces(read(path), path, (other) => other === name)) known.set(name, found)
  }
  return CALLS.flatMap(([title, path, name]) => {
    const found = known.get(name)
    if (found === undefined) throw new Error(`docs/generate: ${path} has no interface ${name}`)
    if (title === '') return []
    return [`## ${title}`, optionTable({ members: withInherited(found, known) })]
  })
}

function withInherited(found, known) {
  const inherited = found.parents.flatMap((name) => {
    const parent = known.get(name)
    if (parent === undefined)
      throw new Error(`docs/generate: ${found.name} extends ${name}, which is not read`)
    return withInherited(parent, known)
  })
  return [...found.members, ...inherited]
}
