// #region first
import { expect, test } from 'withvm/vitest'

test('a server starts', async ({ vm }) => {
  await vm.ssh`mkdir -p /srv && httpd -h /srv`
  await expect(vm).toListenOn(80)
  await expect(vm).toHaveProcess('httpd')
})
// #endregion

// #region serial-and-ssh
test('the guest says what it does', async ({ serial, ssh }) => {
  const mark = serial.mark()
  await ssh`echo ready >/dev/ttyS0`
  await expect(serial).toSee('ready', { after: mark })
})
// #endregion

// #region launch
test('two guests', async ({ launch }) => {
  const [one, other] = await Promise.all([launch(), launch({ memory: '192M' })])
  await expect(one.ssh`hostname`).toPrint('tiny')
  await expect(other).toBeRunning()
})
// #endregion

// #region override
test.describe('with more memory', () => {
  test.override({ vmOptions: { memory: '512M' } })

  test('there is room', async ({ vm }) => {
    await expect(vm.ssh`grep MemTotal /proc/meminfo`).toPrint(/MemTotal: +4\d{5} kB/)
  })
})
// #endregion

// #region scope
test.describe('tests that share a guest', () => {
  test.override({ vmScope: 'file' })

  test('the first one starts it', async ({ vm }) => {
    await vm.ssh`touch /root/mine`
  })

  test('the next one finds it as it was at first', async ({ vm }) => {
    await expect(vm).not.toHaveFile('/root/mine')
  })
})
// #endregion

// #region no-reset
test.describe('tests that go on from each other', () => {
  test.override({ vmScope: 'file', vmReset: false, vmOptions: { name: 'steps' } })

  test('the first one installs', async ({ vm }) => {
    await vm.ssh`touch /root/installed`
  })

  test('the next one finds it as it was left', async ({ vm }) => {
    await expect(vm).toHaveFile('/root/installed')
  })
})
// #endregion

// #region evidence
test.describe('the installer', () => {
  test.override({ vmEvidence: 'always', vmOptions: { qemuArgs: ['-device', 'VGA'] } })

  test('begins with a menu', async ({ vm }) => {
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

webTest('a fixture of your own', async ({ server }) => {
  expect(await (await fetch(server)).text()).toBe('hello\n')
})
// #endregion
