import { expect, test } from 'vitest'
import { launchVM } from 'withvm'

test('an enabled systemd service starts again after a power cut', async () => {
  // #region debian
  await using vm = await launchVM({ image: 'debian' })
  await vm.ssh`printf '[Service]\\nExecStart=sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/demo.service`
  await vm.ssh`systemctl enable --now demo && sync`
  await vm.powerCut()
  await vm.start()
  await vm.waitFor.unit('demo')
  // #endregion
  expect(vm.bootCount).toBe(2)
}, 600_000)
