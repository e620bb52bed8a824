import type { Draft, ParsedOption } from './draft.js'
import { formatParameters, isOn, lastValue, parseParameters } from './parameters.js'
import { drop, passOver, type Readers } from './readers.js'

function readBoot(draft: Draft, { value }: ParsedOption): void {
  const rest: Array<readonly [string, string]> = []
  for (const [key, text] of parseParameters(value, 'order')) {
    if (key === 'order') draft.options.boot = text
    else if (key === 'once') draft.options.bootOnce = text
    else if (key === 'menu') draft.options.bootMenu = isOn(text)
    else rest.push([key, text])
  }
  if (rest.length > 0) draft.keep({ flag: 'boot', value: formatParameters(rest) })
}

function readName(draft: Draft, given: ParsedOption): void {
  const parameters = parseParameters(given.value, 'guest')
  const name = lastValue(parameters, 'guest')
  const rest = parameters.filter(([key]) => key !== 'guest')
  if (rest.length > 0) draft.keep({ flag: 'name', value: formatParameters(rest) })
  if (name === undefined) return
  const usable = name
    .replace(/[^\w.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 60)
  draft.options.name = usable || 'guest'
  if (usable !== name) {
    draft.translate(
      given,
      `name: '${draft.options.name}'`,
      'it is a host name too: of letters, digits, ., _ and -',
    )
  }
}

const IDENTITY = ['manufacturer', 'product', 'version', 'serial', 'sku', 'family']

/** What the system says of itself (type 1); other tables are kept as they are. */
function readSmbios(draft: Draft, given: ParsedOption): void {
  const [type, ...system] = parseParameters(given.value)
  const isSystem = type?.[0] === 'type' && type[1] === '1'
  if (!isSystem || !system.every(([key]) => key === 'uuid' || IDENTITY.includes(key)))
    return void draft.keep(given)
  draft.options.smbios = { ...draft.options.smbios, ...Object.fromEntries(system) }
}

const sets =
  (option: 'kernel' | 'initrd' | 'append' | 'dtb') =>
  (draft: Draft, { value }: ParsedOption) => {
    draft.options[option] = value
  }

const OURS = 'withvm starts, watches and ends QEMU by itself'

/** What is started, and how QEMU itself runs. */
export const bootReaders: Readers = {
  boot: readBoot,
  name: readName,
  kernel: sets('kernel'),
  initrd: sets('initrd'),
  append: (draft, given) => {
    if (given.value !== '') sets('append')(draft, given)
  },
  dtb: sets('dtb'),
  smbios: readSmbios,
  uuid: (draft, { value }) => {
    draft.options.smbios = { ...draft.options.smbios, uuid: value }
  },
  nodefaults: passOver,
  'no-user-config': passOver,
  nodefconfig: passOver,
  daemonize: drop(OURS),
  sandbox: drop('withvm has QEMU in a sandbox of its own'),
  runas: (draft, { value }) => {
    draft.options.runAs = value
  },
  chroot: drop('QEMU needs the files of the run'),
  writeconfig: drop('QEMU has no such option any more; vm.commandLine has the whole machine'),
  loadvm: (draft, given) =>
    draft.refuse(
      given,
      'nothing: the guest has an overlay of its own, in which the snapshots of the image are not',
    ),
  bt: drop('QEMU has no Bluetooth any more'),
  clock: drop('QEMU chooses its clock by itself now'),
  tdf: drop('QEMU catches up with lost ticks by itself now'),
  'no-kvm-pit': drop('QEMU has no such option any more'),
  'no-kvm-pit-reinjection': (draft, given) => {
    draft.keep({ flag: 'global', value: 'kvm-pit.lost_tick_policy=discard' })
    draft.translate(given, '-global kvm-pit.lost_tick_policy=discard', 'QEMU has no such option any more')
  },
  'tb-size': drop('withvm sets the accelerator by itself, without properties'),
  hdachs: drop('QEMU finds out the geometry of disks by itself now'),
}
