import { expectTypeOf, test } from 'vitest'
import {
  type CommandError,
  type CommandResult,
  checks,
  type DownloadOptions,
  defineImage,
  forkAll,
  type Invariant,
  type KeptGuest,
  launchVM,
  launchVMs,
  type NetbootClient,
  type NetbootOptions,
  netboot,
  type PreparedImage,
  type ReplacedArgument,
  type VM,
  type VMError,
  type VMOptions,
  withVM,
} from 'withvm'

test('`withVM()` resolves to the result of its body', () => {
  expectTypeOf(withVM({}, () => 5)).resolves.toBeNumber()
  expectTypeOf(withVM({}, async (vm) => vm)).resolves.toEqualTypeOf<VM>()
  expectTypeOf(launchVM()).resolves.toEqualTypeOf<VM>()
})

test('`launchVMs()` resolves to one guest per element', async () => {
  await using vms = await launchVMs([{ name: 'server' }, {}])
  const [server, client] = vms
  expectTypeOf([server, client]).toEqualTypeOf<VM[]>()
  // @ts-expect-error unknown option
  void launchVMs([{ memroy: '1G' }])
})

test('the types of forks name each child', async () => {
  await using vm = await launchVM()
  await using children = await vm.fork(2)
  const [left, right] = children
  expectTypeOf([left, right]).toEqualTypeOf<VM[]>()
  expectTypeOf(children.length).toEqualTypeOf<2>()
  const [child] = await vm.fork()
  expectTypeOf(child).toEqualTypeOf<VM>()
  const count: number = 3
  expectTypeOf((await vm.fork(count))[0]).toEqualTypeOf<VM | undefined>()
  const [one, two] = await forkAll([left, right], { name: 'both' })
  expectTypeOf([one, two]).toEqualTypeOf<VM[]>()
  // @ts-expect-error unknown option
  void vm.fork(1, { nam: 'child' })
})

test('options are typed, and unknown options are rejected', () => {
  expectTypeOf<VMOptions['accel']>().toEqualTypeOf<'auto' | 'kvm' | 'tcg' | undefined>()
  expectTypeOf<{ memory: '1G'; timeouts: { start: '30s' } }>().toExtend<VMOptions>()
  expectTypeOf<{ limits: { disk: '2G'; console: 64 } }>().toExtend<VMOptions>()
  expectTypeOf<Parameters<VM['download']>[2]>().toEqualTypeOf<DownloadOptions | undefined>()
  // @ts-expect-error unknown option
  void launchVM({ memroy: '1G' })
  // @ts-expect-error duration without a unit
  void launchVM({ timeouts: { start: '30' } })
  // @ts-expect-error forward without a guest port
  void launchVM({ hostfwd: [{ host: 80 }] })
})

test('`commandLine` is an option, and its translations are typed', () => {
  const vm = {} as VM
  expectTypeOf<{ commandLine: 'qemu -hda linux.img' }>().toExtend<VMOptions>()
  expectTypeOf(vm.importReport.replacedArguments).toEqualTypeOf<readonly ReplacedArgument[]>()
  expectTypeOf(vm.port('control').waitFor(/x/)).resolves.toBeString()
  // @ts-expect-error unknown type of port
  void launchVM({ ports: [{ name: 'a', type: 'usb' }] })
})

test('network boots are plain objects or results of builders', () => {
  const files = {
    a: 'text',
    b: new Uint8Array(),
    c: { path: '/c' },
    d: async ({ mac }: NetbootClient) => mac,
  }
  void launchVM({ netboot: { root: 'dir', bootfile: 'a', files, http: { faults: { a: { status: 404 } } } } })
  void launchVM({ netboot: { ...netboot.pxelinux({ kernel: 'a', via: 'http' }), once: true } })
  expectTypeOf(netboot.ipxe('#!ipxe')).toEqualTypeOf<NetbootOptions>()
  expectTypeOf<VM['netboot']['requests'][number]['status']>().toEqualTypeOf<
    'pending' | 'complete' | 'not found' | 'failed' | 'aborted'
  >()
  // @ts-expect-error kernel without a path
  void netboot.kernel({ initrd: 'a' })
  // @ts-expect-error unknown tree
  void launchVM({ netboot: { trees: ['lilo'] } })
})

test('nested options are typed', () => {
  expectTypeOf<{ disks: [{ size: '1G'; interface: 'nvme' }]; cpus: { sockets: 2 } }>().toExtend<VMOptions>()
  expectTypeOf<{
    network: [{ model: 'e1000' }, Record<string, never>]
    tpm: true
    image: false
  }>().toExtend<VMOptions>()
  expectTypeOf<VM['importReport']['skippedSettings']>().toExtend<
    readonly { what: string; path: string; reason: string }[]
  >()
  // @ts-expect-error unknown interface
  void launchVM({ disks: [{ size: '1G', interface: 'sas' }] })
  // @ts-expect-error unknown option of UEFI firmware
  void launchVM({ firmware: { type: 'uefi', secureboot: true } })
})

test('a `ready` function receives the guest', () => {
  void launchVM({ ready: (vm) => expectTypeOf(vm).toEqualTypeOf<VM>() })
})

test('vm.ssh is a template tag and a function, and returns text or bytes', () => {
  const vm = {} as VM
  expectTypeOf(vm.ssh`echo ${'word'} ${['more', 'words']} ${5}`).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf(vm.ssh('true', { encoding: 'buffer' })).resolves.toEqualTypeOf<CommandResult<Buffer>>()
  expectTypeOf(vm.exec('true')).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf<CommandResult['exitCode']>().toEqualTypeOf<number | undefined>()
  // @ts-expect-error an object is not a word of a command
  void vm.ssh`echo ${{}}`
})

test('waits return the found value, and their expectations are typed', () => {
  const vm = {} as VM
  expectTypeOf(vm.waitFor.port(80)).resolves.toBeVoid()
  expectTypeOf(vm.waitFor.log(/x/, { level: 'err' }))
    .resolves.toHaveProperty('message')
    .toBeString()
  expectTypeOf(vm.waitFor.command('true')).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf(vm.waitFor.any([checks.portListens(80), (vm) => vm.isRunning])).resolves.toBeNumber()
  expectTypeOf(vm.waitFor.url('/')).resolves.toHaveProperty('status')
  expectTypeOf(vm.always('up', () => true)).resolves.toEqualTypeOf<Invariant>()
  // @ts-expect-error duration without a unit
  void vm.waitFor.unit('demo', { timeout: '30' })
  // @ts-expect-error unknown property of a file
  void vm.waitFor.file('/etc/passwd', { size: 5 })
  // @ts-expect-error a string is not a check
  void vm.always('up', 'true')
})

test('options for the access to custom images are typed', () => {
  expectTypeOf<{ cloudInit: { userData: { packages: ['a'] }; metaData: 'a: b' } }>().toExtend<VMOptions>()
  expectTypeOf<{ cloudInit: false; login: { user: 'demo'; password: 'x' } }>().toExtend<VMOptions>()
  expectTypeOf<{ ssh: { privateKey: { file: 'key' }; passphrase: 'x' } }>().toExtend<VMOptions>()
  expectTypeOf<VMOptions['ready']>()
    .extract<string>()
    .toEqualTypeOf<'ssh' | 'cloud-init' | 'agent' | 'login' | 'none'>()
  const vm = {} as VM
  expectTypeOf(vm.serial.login({ user: 'root' })).resolves.toEqualTypeOf<{ readonly wasLoggedIn: boolean }>()
})

test('options for artifacts are typed', () => {
  const vm = {} as VM
  expectTypeOf(vm.saveLogs('logs', { memory: true })).resolves.toBeString()
  expectTypeOf(vm.keep('to look into it')).resolves.toEqualTypeOf<KeptGuest>()
  expectTypeOf<{ keepOnFailure: '30m'; artifacts: false; memoryDump: true }>().toExtend<VMOptions>()
  // @ts-expect-error the reason is missing
  void vm.keep()
  // @ts-expect-error duration without a unit
  void launchVM({ keepOnFailure: '30' })
})

test('common QMP commands are typed, other results are unknown', () => {
  const vm = {} as VM
  expectTypeOf(vm.qmp.execute('query-status')).resolves.toHaveProperty('status')
  expectTypeOf(vm.qmp.execute('query-anything')).resolves.toBeUnknown()
})

test('a CommandError is a VMError with stdout and stderr', () => {
  expectTypeOf<CommandError>().toExtend<VMError>()
  expectTypeOf<CommandError['stderr']>().toBeString()
  expectTypeOf(new Error() as VMError).toHaveProperty('code')
})

test('`image` accepts the result of `defineImage()`, and `prepare` receives a VM', () => {
  const web = defineImage({ name: 'web', packages: ['nginx-light'], prepare: (vm) => vm.ssh`true` })
  expectTypeOf(web).toEqualTypeOf<PreparedImage>()
  expectTypeOf<{ image: typeof web }>().toExtend<VMOptions>()
  void defineImage({ name: 'own', build: ({ dir }) => ({ disk: expectTypeOf(dir).toBeString() && 'disk' }) })
  // @ts-expect-error the name is missing
  void defineImage({ from: 'debian' })
  // @ts-expect-error unsupported architecture
  void defineImage({ name: 'web', arch: 'arm64' })
})

test('hot-plugged devices can be unplugged, and layouts and drives are typed', () => {
  const vm = {} as VM
  expectTypeOf(vm.plug.disk({ size: '1G' })).resolves.toHaveProperty('unplug')
  expectTypeOf(vm.balloon('128M')).resolves.toBeNumber()
  expectTypeOf(vm.screenshot()).resolves.toEqualTypeOf<Buffer>()
  void vm.media.insert('cdrom', 'a.iso')
  // @ts-expect-error unknown drive
  void vm.media.eject('hdc')
  // @ts-expect-error unknown layout
  void vm.type('a', { layout: 'xx' })
  // @ts-expect-error unknown display
  void launchVM({ display: 'qt' })
})
