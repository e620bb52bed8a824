import { expect } from 'vitest'
import { launchVM } from 'withvm'
import { test } from 'withvm/vitest'

const MINUTES = 60_000

test('an s390x guest boots and is big-endian', { timeout: 10 * MINUTES }, async () => {
  // #region tiny
  await using vm = await launchVM({ arch: 's390x' })
  const { stdout } = await vm.ssh`uname -m; printf '\\001\\000' | od -An -d`
  expect(stdout).toMatch(/^s390x\n +256$/)
  // #endregion
})

test('a sparc guest runs Forth at its firmware prompt', { timeout: 2 * MINUTES }, async () => {
  // #region firmware
  await using vm = await launchVM({ arch: 'sparc', image: false, ssh: false })
  await vm.serial.waitFor(/Welcome to OpenBIOS[\s\S]*0 > /)
  vm.serial.write('decimal 6 7 * .\r')
  await vm.serial.waitFor('42')
  // #endregion
})
