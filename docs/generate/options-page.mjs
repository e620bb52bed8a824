import { parseAliases, parseInterfaces } from './interfaces.mjs'
import { code, endSentence, fence, madeFrom, slug, value } from './markdown.mjs'

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
const IMAGE_OBJECTS = { FileImage: '`image`, a file of this host', UrlImage: '`image`, a download' }

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
  const types = ALIASES.flatMap((path) => parseAliases(read(path)))
  const linked = new Set([...types.map(({ name }) => name), 'DiskFormat'])
  const parts = [
    madeFrom(...new Set(GROUPS.map(([, path]) => path)), IMAGES, NETBOOT),
    '# Options',
    'Options of `withVM(options, body)` and `launchVM(options)`. All problems with the options are reported in one error, with the path of each, before anything is started.',
    '*QEMU* lists the arguments that an option becomes. `vm.commandLine` is the complete command line, and [arguments of QEMU](qemu-arguments.md) lists the option for each argument.',
    GROUPS.map(([title]) => `- [${title}](#${slug(title)})`).join('\n'),
  ]
  for (const [title, path, name] of GROUPS) {
    const interfaces = [path, NETBOOT].flatMap((file) => parseInterfaces(read(file), file))
    const known = new Map(interfaces.map((one) => [one.name, one]))
    const group = known.get(name)
    const render = (member, prefix = '') => {
      const inner = prefix + prefixOf(member)
      const nested = nestedOptions(member, group, known)
      return [
        ...renderOption(member, { prefix, linked, level: prefix === '' ? 3 : 4 }),
        ...nested.flatMap(({ text, members }) => [text, ...members.flatMap((one) => render(one, inner))]),
        ...(member.name === 'image' ? images.flatMap((image) => renderImage(image, linked)) : []),
      ]
    }
    parts.push(`## ${title}`, group.text === `${title}.` ? '' : group.text)
    for (const member of group.members) parts.push(...render(member))
  }
  parts.push('## Types of options')
  for (const { name, text, type } of types) {
    parts.push(`### ${name}`, text, fence('ts', `type ${name} = ${type}`))
  }
  parts.push(`### DiskFormat`, `One of ${DISK_FORMATS.map((name) => code(`'${name}'`)).join(', ')}.`)
  parts.push('## Options of calls', ...renderCalls(read, linked))
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`
}

/** Renders an option as text: a heading, the meaning, and a list of its type, default and arguments. */
function renderOption(member, { prefix, level, linked }) {
  const type = member.type.replaceAll(/\breadonly /g, '').replaceAll('PreparedSource', 'PreparedImage')
  const preset = member.isRequired ? 'none, the option is required' : value(member.default ?? '')
  const facts = [
    `Type: ${linked.has(type) ? `[${code(type)}](#${type.toLowerCase()})` : code(type)}`,
    ...(preset === '' ? [] : [`Default: ${preset}`]),
    ...(member.qemu === undefined ? [] : [`QEMU: ${member.qemu}`]),
  ]
  return [
    `${'#'.repeat(level)} ${code(prefix + member.name)}`,
    endSentence(meaningOf(member, prefix)),
    facts.map((fact) => `- ${fact}`).join('\n'),
  ]
}

/** Renders an object form of `image`. */
function renderImage({ name, text, members }, linked) {
  const options = members.flatMap((member) => renderOption(member, { prefix: 'image.', level: 5, linked }))
  return [`#### ${IMAGE_OBJECTS[name]}`, text, ...options]
}

/** Returns the interfaces that the type of a member contains, with inherited members. */
function nestedOptions({ type }, group, known) {
  return [...known.values()]
    .filter(({ name }) => name !== group.name && new RegExp(`\\b${name}\\b`).test(type))
    .map((nested) => ({ ...nested, members: withInherited(nested, known) }))
}

function prefixOf({ name, type }) {
  if (type.includes('Record<string,')) return `${name}['path'].`
  return type.endsWith('[]') && !type.includes('|') ? `${name}[].` : `${name}.`
}

function meaningOf({ name, text }, prefix) {
  const meaning = text || COMMON[name]
  if (meaning) return meaning
  throw new Error(`docs/generate: the option ${prefix}${name} has no docstring`)
}

function renderCalls(read, linked) {
  const known = new Map()
  for (const [, path, name] of CALLS) {
    for (const found of parseInterfaces(read(path), path, (other) => other === name)) known.set(name, found)
  }
  return CALLS.flatMap(([title, path, name]) => {
    const found = known.get(name)
    if (found === undefined) throw new Error(`docs/generate: ${path} has no interface ${name}`)
    if (title === '') return []
    const options = withInherited(found, known).flatMap((member) =>
      renderOption(member, { prefix: '', level: 4, linked }),
    )
    return [`### ${title}`, ...options]
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
