import { expectTypeOf, test } from 'vitest'
import {
  type CommandError,
  type CommandResult,
  checks,
  type DownloadOptions,
  defineImage,
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

test('withVM gives what its body gives', () => {
  expectTypeOf(withVM({}, () => 5)).resolves.toBeNumber()
  expectTypeOf(withVM({}, async (vm) => vm)).resolves.toEqualTypeOf<VM>()
  expectTypeOf(launchVM()).resolves.toEqualTypeOf<VM>()
})

test('launchVMs gives as many guests as it was given options', async () => {
  await using vms = await launchVMs([{ name: 'server' }, {}])
  const [server, client] = vms
  expectTypeOf([server, client]).toEqualTypeOf<VM[]>()
  // @ts-expect-error a misspelt option
  void launchVMs([{ memroy: '1G' }])
})

test('options have completion, and what does not exist is no option', () => {
  expectTypeOf<VMOptions['accel']>().toEqualTypeOf<'auto' | 'kvm' | 'tcg' | undefined>()
  expectTypeOf<{ memory: '1G'; timeouts: { start: '30s' } }>().toExtend<VMOptions>()
  expectTypeOf<{ limits: { disk: '2G'; console: 64 } }>().toExtend<VMOptions>()
  expectTypeOf<Parameters<VM['download']>[2]>().toEqualTypeOf<DownloadOptions | undefined>()
  // @ts-expect-error a misspelt option
  void launchVM({ memroy: '1G' })
  // @ts-expect-error a duration without its unit
  void launchVM({ timeouts: { start: '30' } })
  // @ts-expect-error a forward without the guest's port
  void launchVM({ hostfwd: [{ host: 80 }] })
})

test('a command line is an option, and what became of it is told', () => {
  const vm = {} as VM
  expectTypeOf<{ commandLine: 'qemu -hda linux.img' }>().toExtend<VMOptions>()
  expectTypeOf(vm.importReport.replacedArguments).toEqualTypeOf<readonly ReplacedArgument[]>()
  expectTypeOf(vm.port('control').waitFor(/x/)).resolves.toBeString()
  // @ts-expect-error a port of no kind that there is
  void launchVM({ ports: [{ name: 'a', type: 'usb' }] })
})

test('network boots are told by a plain object, or a builder of one', () => {
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
  // @ts-expect-error a kernel without its path
  void netboot.kernel({ initrd: 'a' })
  // @ts-expect-error no such tree
  void launchVM({ netboot: { trees: ['lilo'] } })
})

test('options that have parts are typed to their last part', () => {
  expectTypeOf<{ disks: [{ size: '1G'; interface: 'nvme' }]; cpus: { sockets: 2 } }>().toExtend<VMOptions>()
  expectTypeOf<{
    network: [{ model: 'e1000' }, Record<string, never>]
    tpm: true
    image: false
  }>().toExtend<VMOptions>()
  expectTypeOf<VM['importReport']['skippedSettings']>().toExtend<
    readonly { what: string; path: string; reason: string }[]
  >()
  // @ts-expect-error an interface that does not exist
  void launchVM({ disks: [{ size: '1G', interface: 'sas' }] })
  // @ts-expect-error UEFI firmware with a misspelt part
  void launchVM({ firmware: { type: 'uefi', secureboot: true } })
})

test('a ready function is given the guest', () => {
  void launchVM({ ready: (vm) => expectTypeOf(vm).toEqualTypeOf<VM>() })
})

test('vm.ssh is a tag and a function, with text or bytes', () => {
  const vm = {} as VM
  expectTypeOf(vm.ssh`echo ${'word'} ${['more', 'words']} ${5}`).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf(vm.ssh('true', { encoding: 'buffer' })).resolves.toEqualTypeOf<CommandResult<Buffer>>()
  expectTypeOf(vm.exec('true')).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf<CommandResult['exitCode']>().toEqualTypeOf<number | undefined>()
  // @ts-expect-error an object is no word of a command
  void vm.ssh`echo ${{}}`
})

test('waits give what they found, and take what there is to expect', () => {
  const vm = {} as VM
  expectTypeOf(vm.waitFor.port(80)).resolves.toBeVoid()
  expectTypeOf(vm.waitFor.command('true')).resolves.toEqualTypeOf<CommandResult>()
  expectTypeOf(vm.waitFor.any([checks.portListens(80), (vm) => vm.isRunning])).resolves.toBeNumber()
  expectTypeOf(vm.waitFor.url('/')).resolves.toHaveProperty('status')
  expectTypeOf(vm.always('up', () => true)).resolves.toEqualTypeOf<Invariant>()
  // @ts-expect-error a duration without its unit
  void vm.waitFor.unit('demo', { timeout: '30' })
  // @ts-expect-error what is no part of a file
  void vm.waitFor.file('/etc/passwd', { size: 5 })
  // @ts-expect-error a text is no check
  void vm.always('up', 'true')
})

test('how a guest that was made elsewhere is reached', () => {
  expectTypeOf<{ cloudInit: { userData: { packages: ['a'] }; metaData: 'a: b' } }>().toExtend<VMOptions>()
  expectTypeOf<{ cloudInit: false; login: { user: 'demo'; password: 'x' } }>().toExtend<VMOptions>()
  expectTypeOf<{ ssh: { privateKey: { file: 'key' }; passphrase: 'x' } }>().toExtend<VMOptions>()
  expectTypeOf<VMOptions['ready']>()
    .extract<string>()
    .toEqualTypeOf<'ssh' | 'cloud-init' | 'agent' | 'login' | 'none'>()
  const vm = {} as VM
  expectTypeOf(vm.serial.login({ user: 'root' })).resolves.toEqualTypeOf<{ readonly wasLoggedIn: boolean }>()
})

test('what is kept of a failure', () => {
  const vm = {} as VM
  expectTypeOf(vm.saveLogs('logs', { memory: true })).resolves.toBeString()
  expectTypeOf(vm.keep('to look into it')).resolves.toEqualTypeOf<KeptGuest>()
  expectTypeOf<{ keepOnFailure: '30m'; artifacts: false; memoryDump: true }>().toExtend<VMOptions>()
  // @ts-expect-error what for?
  void vm.keep()
  // @ts-expect-error a duration without its unit
  void launchVM({ keepOnFailure: '30' })
})

test('QMP commands that are known are typed, others are unknown', () => {
  const vm = {} as VM
  expectTypeOf(vm.qmp.execute('query-status')).resolves.toHaveProperty('status')
  expectTypeOf(vm.qmp.execute('query-anything')).resolves.toBeUnknown()
})

test('an error of a command is a VMError with both streams', () => {
  expectTypeOf<CommandError>().toExtend<VMError>()
  expectTypeOf<CommandError['stderr']>().toBeString()
  expectTypeOf(new Error() as VMError).toHaveProperty('code')
})

test('an image of your own is an image, and its preparation is given a guest', () => {
  const web = defineImage({ name: 'web', packages: ['nginx-light'], prepare: (vm) => vm.ssh`true` })
  expectTypeOf(web).toEqualTypeOf<PreparedImage>()
  expectTypeOf<{ image: typeof web }>().toExtend<VMOptions>()
  void defineImage({ name: 'own', build: ({ dir }) => ({ disk: expectTypeOf(dir).toBeString() && 'disk' }) })
  // @ts-expect-error an image has a name
  void defineImage({ from: 'debian' })
  // @ts-expect-error there is one architecture
  void defineImage({ name: 'web', arch: 'arm64' })
})

test('what is plugged in can be unplugged, and layouts and drives have names', () => {
  const vm = {} as VM
  expectTypeOf(vm.plug.disk({ size: '1G' })).resolves.toHaveProperty('unplug')
  expectTypeOf(vm.balloon('128M')).resolves.toBeNumber()
  expectTypeOf(vm.screenshot()).resolves.toEqualTypeOf<Buffer>()
  void vm.media.insert('cdrom', 'a.iso')
  // @ts-expect-error no such drive
  void vm.media.eject('hdc')
  // @ts-expect-error no such layout
  void vm.type('a', { layout: 'xx' })
  // @ts-expect-error no such window
  void launchVM({ display: 'qt' })
})
