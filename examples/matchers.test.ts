import { expect, test } from 'withvm/vitest'

test.override({ vmScope: 'file', vmOptions: { hostfwd: [{ guest: 80 }] } })

test('matchers check the output of the serial console', async ({ vm }) => {
  // #region serial
  await expect(vm.serial).toSee('withvm: sshd')
  await expect(vm.serial).toSeeInOrder(['SeaBIOS', /withvm: sshd/, 'withvm: network'])
  await expect(vm.serial).not.toSee(/Oops|BUG:/)

  const mark = vm.serial.mark() // output before the mark is ignored
  await vm.ssh`(sleep 1; echo tick; echo tick) >/dev/ttyS0 2>&1 &`
  await expect(vm.serial).toSee('tick', { after: mark, times: 2, timeout: '20s' })
  await expect(vm.serial).toStayQuiet('200ms')
  // #endregion
})

test('matchers check the screen of the serial console', async ({ vm }) => {
  await expect(vm.serial).toSee('withvm: network')
  // #region screen
  await vm.ssh`printf '\\033[2J\\033[5;10HChoose a disk:' >/dev/ttyS0`
  await expect(vm.serial).toShow('Choose a disk:')
  await vm.ssh`printf '\\033[2J' >/dev/ttyS0`
  await expect(vm.serial).not.toShow('Choose a disk:')
  // #endregion
})

test('snapshots of a screen and of a command', async ({ vm }) => {
  // #region snapshots
  await vm.ssh`printf '\\033[2J\\033[2;4HInstaller, 12:30:01\\033[4;4H512 MiB free' >/dev/ttyS0`
  await expect(vm.serial).toShow('MiB free')
  await expect(vm.serial).toMatchScreen({ mask: [/\d+ MiB/] })
  await expect(vm.ssh`date; ls /etc/acpi`).toMatchOutput()
  // #endregion
})

test('matchers check the output and the exit code of a command', async ({ vm }) => {
  // #region commands
  await expect(vm.ssh`test -d /etc`).toSucceed()
  await expect(vm.ssh`test -d /no/such/folder`).toFailWith(1)
  await expect(vm.ssh`uname -s`).toPrint('Linux')
  await expect(vm.ssh`echo oh no >&2`).toPrint(/^oh/, { stream: 'stderr' })

  await vm.ssh`(sleep 1; echo done >/tmp/state) >/dev/null 2>&1 &`
  await expect(() => vm.ssh`test -e /tmp/state`).toEventuallySucceed({ timeout: '30s' })
  await expect(() => vm.ssh`cat /tmp/state`).toPrint('done')
  // #endregion
})

test('matchers check the state of a guest', async ({ vm }) => {
  await vm.ssh`mkdir -p /srv && echo hello >/srv/index.html && httpd -h /srv`
  // #region guest
  await expect(vm).toHaveFile('/srv/index.html', { content: 'hello', mode: 0o644, owner: 'root' })
  await expect(vm).toHaveProcess('httpd')
  await expect(vm).toListenOn(80)
  await expect(vm).toBeReachable('/index.html', { status: 200, body: /hel+o/ })
  await expect(vm).toHaveMounted('/proc', { type: 'proc' })
  await expect(vm).toHaveInterface('eth0', { address: '10.0.2.15' })
  await expect(vm).toHaveKernelModule('virtio_net')
  await expect(vm).not.toHaveFile('/srv/index.html.bak')
  // #endregion
})

test('matchers check the kernel log and the journal', async ({ vm }) => {
  // #region logs
  await expect(vm).toHaveCleanKernelLog() // no error, oops, WARNING, hung task or OOM kill

  const since = await vm.markLogs() // messages before the mark are ignored
  await vm.ssh`echo '<3>demo: disk failed' >/dev/kmsg`
  await expect(vm).toHaveLogged(/^demo: .* failed/, { since, level: 'err' })
  await expect(vm).toHaveCleanKernelLog({ since, allow: [/^demo:/] })
  await expect(vm).not.toHaveLogged('demo: recovered', { since })
  // #endregion
})

test('matchers check a reboot and a power-off', async ({ launch }) => {
  // #region power
  const vm = await launch()
  const since = vm.bootCount
  await vm.ssh`(sleep 1; reboot) >/dev/null 2>&1 &`
  await expect(vm).toHaveRebooted({ since })
  await vm.waitUntilReady()

  await vm.ssh`(sleep 1; poweroff) >/dev/null 2>&1 &`
  await expect(vm).toBePoweredOff()
  await expect(vm).not.toBeRunning()
  // #endregion
})

test('a failed matcher reports the expected and the received value', async ({ vm }) => {
  // #region failing
  await vm.ssh`echo debug = on >/etc/demo.conf`
  const failing = expect(vm).toHaveFile('/etc/demo.conf', { content: 'debug = off', timeout: '2s' })
  // #endregion
  const { message } = (await failing.catch((error: Error) => error)) as Error
  const shown = message
    .replace(/failed after .*/, 'failed after 2 s')
    .replace(/after [\d.]+ m?s: /, 'after 31 ms: ')
    .replace(/ended after .*/, 'ended after 2 s')
    .replace(/\(\d+ times\)/, '(5 times)')
    .replace(/(last lines:\n)[\s\S]*/, '$1  | withvm: sshd\n')
  await expect(shown).toMatchFileSnapshot('output/matcher-failed.txt')
})
