import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { launchVM } from 'withvm'
import { ownTmpdir } from '../test/support/own-tmpdir.js'

test('a guest boots from the network', async () => {
  const folder = ownTmpdir()
  // #region netboot
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is iPXE that fills in the variable
  writeFileSync(join(folder, 'boot.ipxe'), '#!ipxe\necho I am ${net0/mac}, from the network\nsleep 60\n')
  await using vm = await launchVM({
    boot: 'n',
    network: { tftp: folder, bootfile: 'boot.ipxe', mac: '52:54:00:aa:bb:cc' },
    ssh: false,
    ready: /^I am 52:54:00:aa:bb:cc, from the network/,
  })
  expect(vm.serial.lines().join('\n')).toContain('tftp://10.0.2.2/boot.ipxe')
  // #endregion
})
