import { expectTypeOf } from 'vitest'
import type { CommandResult, SerialConsole, Ssh, VM, VMOptions } from 'withvm'
import { expect, type Launch, maskVolatile, test, type VMEvidence, type VMScope } from 'withvm/vitest'

test('a test is given guests and what belongs to them', (context) => {
  const { vm, launch, serial, ssh, vmOptions, vmScope, vmEvidence } = context
  expectTypeOf(vm).toEqualTypeOf<VM>()
  expectTypeOf(launch).toEqualTypeOf<Launch>()
  expectTypeOf(serial).toEqualTypeOf<SerialConsole>()
  expectTypeOf(ssh).toEqualTypeOf<Ssh>()
  expectTypeOf(vmOptions).toEqualTypeOf<VMOptions>()
  expectTypeOf(vmScope).toEqualTypeOf<VMScope>()
  expectTypeOf(vmEvidence).toEqualTypeOf<VMEvidence>()
})

// @ts-expect-error there is no such fixture
test('what is not there is no fixture', ({ machine }) => machine)

// By another name, or the collector of type tests takes these calls for tests that it then skips.
const guests = test
guests.override({ vmOptions: { memory: '512M' }, vmScope: 'file' })
// @ts-expect-error a misspelt option
guests.override({ vmOptions: { memroy: '512M' } })
// @ts-expect-error `serial` belongs to `vm`
guests.override({ vmOptions: { serial: true } })
// @ts-expect-error no such scope
guests.override({ vmScope: 'suite' })

guests.override({ vmEvidence: 'never', vmOptions: { artifacts: false, memoryDump: true } })
// @ts-expect-error no such choice
guests.override({ vmEvidence: 'sometimes' })
// @ts-expect-error not a folder
guests.override({ vmOptions: { artifacts: true } })

const own = guests.extend<{ server: string }>({
  server: async ({ vm }, use) => {
    await use(vm.url(80))
  },
})
test('launch takes options and gives a guest', async ({ launch }) => {
  expectTypeOf(await launch({ memory: '192M', hostfwd: [{ guest: 80 }] })).toEqualTypeOf<VM>()
  const [server, client] = await launch([{ name: 'server' }, { name: 'client' }])
  expectTypeOf([server, client]).toEqualTypeOf<VM[]>()
  // @ts-expect-error an image has a name, a path, or more about it
  void launch({ image: 5 })
  // @ts-expect-error options are an object
  void launch('tiny')
})

own('fixtures of an author build on them', ({ server, vm }) => {
  expectTypeOf(server).toBeString()
  expectTypeOf(vm).toEqualTypeOf<VM>()
})

test('matchers of the console', ({ vm, serial }) => {
  expectTypeOf(
    expect(serial).toSee('text', { after: serial.mark(), times: 2, timeout: '1m' }),
  ).resolves.toBeVoid()
  expectTypeOf(expect(serial).not.toSee(/text/)).resolves.toBeVoid()
  expectTypeOf(expect(serial).toSeeInOrder(['one', /two/])).resolves.toBeVoid()
  expectTypeOf(expect(serial).toStayQuiet('5s')).resolves.toBeVoid()
  expectTypeOf(expect(serial).toShow(/text/, { timeout: '5s' })).resolves.toBeVoid()
  expectTypeOf(expect(serial).toMatchScreen({ mask: [/a/], timeout: '5s' })).resolves.toBeVoid()
  expectTypeOf(expect(serial).not.toStayQuiet(500)).resolves.toBeVoid()
  // @ts-expect-error a guest is no console
  void expect(vm).toSee('text')
  // @ts-expect-error a guest has no screen of its own
  void expect(vm).toMatchScreen()
  // @ts-expect-error a mask is a list of patterns
  void expect(serial).toMatchScreen({ mask: /a/ })
  // @ts-expect-error a mark is where something was, not a number
  void expect(serial).toSee('text', { after: 5 })
  // @ts-expect-error how often is a number
  void expect(serial).toSee('text', { times: '2' })
  // @ts-expect-error only toSee() counts
  void expect(serial).toSeeInOrder(['one'], { times: 2 })
  // @ts-expect-error what a console shows is told, not looked for at intervals
  void expect(serial).toShow('text', { interval: 100 })
  // @ts-expect-error a number is no pattern
  void expect(serial).toSee(5)
  // @ts-expect-error a duration without its unit
  void expect(serial).toSee('text', { timeout: '5' })
  // @ts-expect-error one text is no order
  void expect(serial).toSeeInOrder('one')
  // @ts-expect-error for how long?
  void expect(serial).toStayQuiet()
})

test('matchers of commands', ({ vm }) => {
  expectTypeOf(expect(vm.ssh`true`).toSucceed()).resolves.toBeVoid()
  expectTypeOf(expect({} as CommandResult).toSucceed()).resolves.toBeVoid()
  expectTypeOf(expect(vm.exec('true')).toFailWith(1)).resolves.toBeVoid()
  expectTypeOf(expect(vm.ssh`true`).toFailWith('SIGTERM')).resolves.toBeVoid()
  expectTypeOf(expect(vm.ssh`true`).toPrint(/text/, { stream: 'stderr' })).resolves.toBeVoid()
  expectTypeOf(expect(() => vm.ssh`true`).toPrint('text', { timeout: '5s' })).resolves.toBeVoid()
  expectTypeOf(expect(() => vm.ssh`true`).toEventuallySucceed({ interval: 100 })).resolves.toBeVoid()
  expectTypeOf(expect(vm.ssh`true`).not.toSucceed()).resolves.toBeVoid()
  expectTypeOf(expect(vm.ssh`true`).toMatchOutput({ stream: 'stderr', mask: [/a/] })).resolves.toBeVoid()
  expectTypeOf(expect(() => vm.ssh`true`).toMatchOutput({ interval: 100 })).resolves.toBeVoid()
  expectTypeOf(maskVolatile('text', [/a/])).toBeString()
  // @ts-expect-error which exit code?
  void expect(vm.ssh`true`).toFailWith()
  // @ts-expect-error print what?
  void expect(vm.ssh`true`).toPrint()
  // @ts-expect-error bytes are no text
  void expect(vm.ssh('true', { encoding: 'buffer' })).toPrint('text')
  // @ts-expect-error a function that runs no command
  void expect(() => 5).toEventuallySucceed()
  // @ts-expect-error a console is no command
  void expect(vm.serial).toMatchOutput()
  // @ts-expect-error a function is run again and again: toEventuallySucceed
  void expect(() => vm.ssh`true`).toSucceed()
  // @ts-expect-error a command that runs cannot be run again
  void expect(vm.ssh`true`).toEventuallySucceed()
  // @ts-expect-error a text is no command
  void expect('true').toSucceed()
  // @ts-expect-error no such stream
  void expect(vm.ssh`true`).toPrint('text', { stream: 'stdin' })
})

test('matchers of network boots', ({ vm, serial }) => {
  expectTypeOf(
    expect(vm).toHaveFetched('a', { protocol: 'tftp', times: 2, timeout: '5s' }),
  ).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveFetchedInOrder(['a', 'b'], { interval: 100 })).resolves.toBeVoid()
  expectTypeOf(
    expect(vm).not.toHaveGotLease({ mac: 'a', firmware: 'bios', timeout: '5s' }),
  ).resolves.toBeVoid()
  // @ts-expect-error no such protocol
  void expect(vm).toHaveFetched('a', { protocol: 'ftp' })
  // @ts-expect-error one text is no order
  void expect(vm).toHaveFetchedInOrder('a')
  // @ts-expect-error no such firmware
  void expect(vm).toHaveGotLease({ firmware: 'ppc' })
  // @ts-expect-error a console fetches nothing
  void expect(serial).toHaveFetched('a')
})

test('matchers of guests', ({ vm, serial }) => {
  expectTypeOf(expect(vm).toHaveFile('/a', { content: /a/, mode: 0o644, owner: 'root' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveFile('/a', { sha256: '', interval: '1s' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveActiveUnit('demo')).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveProcess(/demo/)).resolves.toBeVoid()
  expectTypeOf(expect(vm).toListenOn(53, { protocol: 'udp' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toBeReachable('/', { status: 200, body: 'text' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toBeReachable(80)).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveMounted('/mnt', { type: 'ext4', source: '/dev/vdb' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveInterface('eth0', { address: '10.0.2.15' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveKernelModule('virtio_net')).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveCleanJournal({ priority: 'warning', unit: 'demo' })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveRebooted({ since: vm.bootCount })).resolves.toBeVoid()
  expectTypeOf(expect(vm).not.toBePoweredOff()).resolves.toBeVoid()
  expectTypeOf(expect(vm).toBeRunning({ timeout: 5000 })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHavePanicked()).resolves.toBeVoid()
  // @ts-expect-error a console is no guest
  void expect(serial).toHaveFile('/a')
  // @ts-expect-error nor is a command
  void expect(vm.ssh`true`).toBeRunning()
  // @ts-expect-error nor is a text
  void expect('tiny').toHavePanicked()
  // @ts-expect-error a duration without its unit
  void expect(vm).toBeRunning({ timeout: '5' })
  // @ts-expect-error a process is named, or matched
  void expect(vm).toHaveProcess(42)
  // @ts-expect-error a status is a number
  void expect(vm).toBeReachable('/', { status: '200' })
  // @ts-expect-error a misspelt option
  void expect(vm).toHaveMounted('/mnt', { fstype: 'ext4' })
  // @ts-expect-error a list of addresses
  void expect(vm).toHaveInterface('eth0', { address: ['10.0.2.15'] })
  // @ts-expect-error which module?
  void expect(vm).toHaveKernelModule()
  // @ts-expect-error lines are left out by patterns
  void expect(vm).toHaveCleanJournal({ ignore: ['a'] })
  // @ts-expect-error a boot is a number
  void expect(vm).toHaveRebooted({ since: 'now' })
  // @ts-expect-error a switch has no subject
  void expect(vm).toBePoweredOff('now')
  // @ts-expect-error a misspelt option
  void expect(vm).toHaveFile('/a', { contents: 'a' })
  // @ts-expect-error a port is a number
  void expect(vm).toListenOn('80')
  // @ts-expect-error no such protocol
  void expect(vm).toListenOn(80, { protocol: 'sctp' })
  // @ts-expect-error no such priority
  void expect(vm).toHaveCleanJournal({ priority: 'loud' })
  // @ts-expect-error which unit?
  void expect(vm).toHaveActiveUnit()
})
