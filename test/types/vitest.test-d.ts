import { expectTypeOf } from 'vitest'
import type { CommandResult, SerialConsole, Ssh, VM, VMOptions } from 'withvm'
import { expect, type Launch, maskVolatile, test, type VMEvidence, type VMScope } from 'withvm/vitest'

test('a test receives the fixtures', (context) => {
  const { vm, launch, serial, ssh, vmOptions, vmScope, vmEvidence } = context
  expectTypeOf(vm).toEqualTypeOf<VM>()
  expectTypeOf(launch).toEqualTypeOf<Launch>()
  expectTypeOf(serial).toEqualTypeOf<SerialConsole>()
  expectTypeOf(ssh).toEqualTypeOf<Ssh>()
  expectTypeOf(vmOptions).toEqualTypeOf<VMOptions>()
  expectTypeOf(vmScope).toEqualTypeOf<VMScope>()
  expectTypeOf(vmEvidence).toEqualTypeOf<VMEvidence>()
})

// @ts-expect-error unknown fixture
test('an unknown fixture is rejected', ({ machine }) => machine)

// Under another name, because the collector of type tests would treat these calls as skipped tests.
const guests = test
guests.override({ vmOptions: { memory: '512M' }, vmScope: 'file' })
// @ts-expect-error unknown option
guests.override({ vmOptions: { memroy: '512M' } })
// @ts-expect-error `serial` belongs to `vm`
guests.override({ vmOptions: { serial: true } })
// @ts-expect-error unknown scope
guests.override({ vmScope: 'suite' })

guests.override({ vmEvidence: 'never', vmOptions: { artifacts: false, memoryDump: true } })
// @ts-expect-error unknown choice
guests.override({ vmEvidence: 'sometimes' })
// @ts-expect-error not a path
guests.override({ vmOptions: { artifacts: true } })

const own = guests.extend<{ server: string }>({
  server: async ({ vm }, use) => {
    await use(vm.url(80))
  },
})
test('`launch()` accepts options and resolves to a guest', async ({ launch }) => {
  expectTypeOf(await launch({ memory: '192M', hostfwd: [{ guest: 80 }] })).toEqualTypeOf<VM>()
  const [server, client] = await launch([{ name: 'server' }, { name: 'client' }])
  expectTypeOf([server, client]).toEqualTypeOf<VM[]>()
  const list: VMOptions[] = []
  expectTypeOf((await launch(list))[0]).toEqualTypeOf<VM | undefined>()
  expectTypeOf(await launch()).toEqualTypeOf<VM>()
  // @ts-expect-error an image is a string or an object
  void launch({ image: 5 })
  // @ts-expect-error unknown option
  void launch({ memry: '512M' })
  void launch({
    image: 'tiny',
    // @ts-expect-error the error is at the unknown option
    memry: '512M',
  })
  // @ts-expect-error options are an object
  void launch('tiny')
})

own('custom fixtures can extend the fixtures', ({ server, vm }) => {
  expectTypeOf(server).toBeString()
  expectTypeOf(vm).toEqualTypeOf<VM>()
})

test('the matchers of the console have types', ({ vm, serial }) => {
  expectTypeOf(
    expect(serial).toSee('text', { after: serial.mark(), times: 2, timeout: '1m' }),
  ).resolves.toBeVoid()
  expectTypeOf(expect(serial).not.toSee(/text/)).resolves.toBeVoid()
  expectTypeOf(expect(serial).toSeeInOrder(['one', /two/])).resolves.toBeVoid()
  expectTypeOf(expect(serial).toStayQuiet('5s')).resolves.toBeVoid()
  expectTypeOf(expect(serial).toShow(/text/, { timeout: '5s' })).resolves.toBeVoid()
  expectTypeOf(expect(serial).toMatchScreen({ mask: [/a/], timeout: '5s' })).resolves.toBeVoid()
  expectTypeOf(expect(serial).not.toStayQuiet(500)).resolves.toBeVoid()
  // @ts-expect-error a guest is not a console
  void expect(vm).toSee('text')
  // @ts-expect-error a guest is not a screen
  void expect(vm).toMatchScreen()
  // @ts-expect-error a mask is a list of patterns
  void expect(serial).toMatchScreen({ mask: /a/ })
  // @ts-expect-error a mark is not a number
  void expect(serial).toSee('text', { after: 5 })
  // @ts-expect-error the count is a number
  void expect(serial).toSee('text', { times: '2' })
  // @ts-expect-error only toSee() supports `times`
  void expect(serial).toSeeInOrder(['one'], { times: 2 })
  // @ts-expect-error toShow() has no interval
  void expect(serial).toShow('text', { interval: 100 })
  // @ts-expect-error a number is not a pattern
  void expect(serial).toSee(5)
  // @ts-expect-error duration without a unit
  void expect(serial).toSee('text', { timeout: '5' })
  // @ts-expect-error a string is not a list
  void expect(serial).toSeeInOrder('one')
  // @ts-expect-error the duration is missing
  void expect(serial).toStayQuiet()
})

test('the matchers of commands have types', ({ vm }) => {
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
  // @ts-expect-error the exit code is missing
  void expect(vm.ssh`true`).toFailWith()
  // @ts-expect-error the pattern is missing
  void expect(vm.ssh`true`).toPrint()
  // @ts-expect-error bytes are not text
  void expect(vm.ssh('true', { encoding: 'buffer' })).toPrint('text')
  // @ts-expect-error the function runs no command
  void expect(() => 5).toEventuallySucceed()
  // @ts-expect-error a console is not a command
  void expect(vm.serial).toMatchOutput()
  // @ts-expect-error a function requires toEventuallySucceed()
  void expect(() => vm.ssh`true`).toSucceed()
  // @ts-expect-error a running command cannot be repeated
  void expect(vm.ssh`true`).toEventuallySucceed()
  // @ts-expect-error a string is not a command
  void expect('true').toSucceed()
  // @ts-expect-error unknown stream
  void expect(vm.ssh`true`).toPrint('text', { stream: 'stdin' })
})

test('the matchers of network boots have types', ({ vm, serial }) => {
  expectTypeOf(
    expect(vm).toHaveFetched('a', { protocol: 'tftp', times: 2, timeout: '5s' }),
  ).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveFetchedInOrder(['a', 'b'], { interval: 100 })).resolves.toBeVoid()
  expectTypeOf(
    expect(vm).not.toHaveGotLease({ mac: 'a', firmware: 'bios', timeout: '5s' }),
  ).resolves.toBeVoid()
  // @ts-expect-error unknown protocol
  void expect(vm).toHaveFetched('a', { protocol: 'ftp' })
  // @ts-expect-error a string is not a list
  void expect(vm).toHaveFetchedInOrder('a')
  // @ts-expect-error unknown firmware
  void expect(vm).toHaveGotLease({ firmware: 'ppc' })
  // @ts-expect-error a console has no network boot
  void expect(serial).toHaveFetched('a')
})

test('the matchers of guests have types', async ({ vm, serial }) => {
  const since = await vm.markLogs()
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
  expectTypeOf(expect(vm).toHaveCleanJournal({ level: 'warning', allow: ['a', /b/] })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveCleanKernelLog({ level: 'crit', since, allow: [/a/] })).resolves.toBeVoid()
  expectTypeOf(
    expect(vm).toHaveLogged(/a/, { unit: 'demo', level: 'info', since, within: '1m', timeout: '5s' }),
  ).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHaveRebooted({ since: vm.bootCount })).resolves.toBeVoid()
  expectTypeOf(expect(vm).not.toBePoweredOff()).resolves.toBeVoid()
  expectTypeOf(expect(vm).toBeRunning({ timeout: 5000 })).resolves.toBeVoid()
  expectTypeOf(expect(vm).toHavePanicked()).resolves.toBeVoid()
  // @ts-expect-error a console is not a guest
  void expect(serial).toHaveFile('/a')
  // @ts-expect-error a command is not a guest
  void expect(vm.ssh`true`).toBeRunning()
  // @ts-expect-error a string is not a guest
  void expect('tiny').toHavePanicked()
  // @ts-expect-error duration without a unit
  void expect(vm).toBeRunning({ timeout: '5' })
  // @ts-expect-error a process is a name or a pattern
  void expect(vm).toHaveProcess(42)
  // @ts-expect-error a status is a number
  void expect(vm).toBeReachable('/', { status: '200' })
  // @ts-expect-error unknown option
  void expect(vm).toHaveMounted('/mnt', { fstype: 'ext4' })
  // @ts-expect-error the address is a string
  void expect(vm).toHaveInterface('eth0', { address: ['10.0.2.15'] })
  // @ts-expect-error the module is missing
  void expect(vm).toHaveKernelModule()
  // @ts-expect-error ignored lines are patterns
  void expect(vm).toHaveCleanJournal({ ignore: ['a'] })
  // @ts-expect-error the boot is a number
  void expect(vm).toHaveRebooted({ since: 'now' })
  // @ts-expect-error the matcher has no argument
  void expect(vm).toBePoweredOff('now')
  // @ts-expect-error unknown option
  void expect(vm).toHaveFile('/a', { contents: 'a' })
  // @ts-expect-error a port is a number
  void expect(vm).toListenOn('80')
  // @ts-expect-error unknown protocol
  void expect(vm).toListenOn(80, { protocol: 'sctp' })
  // @ts-expect-error information is no problem
  void expect(vm).toHaveCleanKernelLog({ level: 'info' })
  // @ts-expect-error a time is not a mark
  void expect(vm).toHaveLogged('a', { since: new Date() })
  // @ts-expect-error the text is missing
  void expect(vm).toHaveLogged()
  // @ts-expect-error unknown priority
  void expect(vm).toHaveCleanJournal({ priority: 'loud' })
  // @ts-expect-error the unit is missing
  void expect(vm).toHaveActiveUnit()
})
