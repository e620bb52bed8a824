// #region first
import { expect, test } from 'withvm/vitest'

test('the server listens on port 80', async ({ vm }) => {
  await vm.ssh`mkdir -p /srv && httpd -h /srv`
  await expect(vm).toListenOn(80)
  await expect(vm).toHaveProcess('httpd')
})
// #endregion

// #region serial-and-ssh
test('the script prints ready on the console', async ({ serial, ssh }) => {
  const mark = serial.mark()
  await ssh`echo ready >/dev/ttyS0`
  await expect(serial).toSee('ready', { after: mark })
})
// #endregion

// #region launch
test('two guests run at the same time', async ({ launch }) => {
  const [first, second] = await Promise.all([launch(), launch({ memory: '192M' })])
  await expect(first.ssh`hostname`).toPrint('tiny')
  await expect(second).toBeRunning()
})
// #endregion

// #region override
test.describe('with more memory', () => {
  test.override({ vmOptions: { memory: '512M' } })

  test('the guest has 512 MiB of RAM', async ({ vm }) => {
    await expect(vm.ssh`grep MemTotal /proc/meminfo`).toPrint(/MemTotal: +4\d{5} kB/)
  })
})
// #endregion

// #region scope
test.describe('one guest for all tests', () => {
  test.override({ vmScope: 'file' })

  test('the first test starts the guest', async ({ vm }) => {
    await vm.ssh`touch /root/mine`
  })

  test('the next test gets the guest as it was before the first test', async ({ vm }) => {
    await expect(vm).not.toHaveFile('/root/mine')
  })
})
// #endregion

// #region no-reset
test.describe('tests that depend on each other', () => {
  test.override({ vmScope: 'file', vmReset: false, vmOptions: { name: 'steps' } })

  test('the first test installs the package', async ({ vm }) => {
    await vm.ssh`touch /root/installed`
  })

  test('the next test uses the installed package', async ({ vm }) => {
    await expect(vm).toHaveFile('/root/installed')
  })
})
// #endregion

// #region evidence
test.describe('installer', () => {
  test.override({ vmEvidence: 'always', vmOptions: { qemuArgs: ['-device', 'VGA'] } })

  test('the installer boots', async ({ vm }) => {
    await expect(vm).toBeRunning()
  })
})
// #endregion

// #region extend
const webTest = test.extend<{ server: string }>({
  server: async ({ launch }, use) => {
    const vm = await launch({ hostfwd: [{ guest: 80 }] })
    await vm.ssh`mkdir -p /srv && echo hello >/srv/index.html && httpd -h /srv`
    await expect(vm).toBeReachable(80)
    await use(vm.url(80))
  },
})

webTest('the server returns its index page', async ({ server }) => {
  expect(await (await fetch(server)).text()).toBe('hello\n')
})
// #endregion
