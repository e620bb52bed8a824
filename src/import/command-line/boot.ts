import type { Draft, ParsedOption } from './draft.js'
import { formatParameters, isOn, lastValue, parseParameters } from './parameters.js'
import { drop, ignore, type Readers } from './readers.js'

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
      'the name is also the host name, which allows letters, digits, ., _ and -',
    )
  }
}

const IDENTITY = ['manufacturer', 'product', 'version', 'serial', 'sku', 'family']

/** Parses the SMBIOS system table (type 1). Other tables are passed through. */
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

const MANAGED = 'withvm manages the QEMU process'

/** Readers for boot options and for the QEMU process. */
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
  nodefaults: ignore,
  'no-user-config': ignore,
  nodefconfig: ignore,
  daemonize: drop(MANAGED),
  sandbox: drop('withvm configures the sandbox of QEMU'),
  runas: (draft, { value }) => {
    draft.options.runAs = value
  },
  chroot: drop('QEMU needs access to the files of the run'),
  writeconfig: drop('the option was removed from QEMU; vm.commandLine contains the complete machine'),
  loadvm: (draft, given) =>
    draft.refuse(
      given,
      'no `-loadvm`: the guest runs on a new overlay, which does not contain the snapshots of the image',
    ),
  bt: drop('Bluetooth was removed from QEMU'),
  clock: drop('QEMU selects its clock automatically'),
  tdf: drop('QEMU catches up on lost ticks automatically'),
  'no-kvm-pit': drop('the option was removed from QEMU'),
  'no-kvm-pit-reinjection': (draft, given) => {
    draft.keep({ flag: 'global', value: 'kvm-pit.lost_tick_policy=discard' })
    draft.translate(given, '-global kvm-pit.lost_tick_policy=discard', 'the option was removed from QEMU')
  },
  'tb-size': drop('withvm sets the accelerator itself, without properties'),
  hdachs: drop('QEMU detects the geometry of disks automatically'),
}
