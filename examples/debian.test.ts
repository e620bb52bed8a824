import { expect, test } from 'vitest'
import { checks, launchVM } from 'withvm'

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

test('systemd restarts a service that was killed, and packets of the guest are lost', async () => {
  await using vm = await launchVM({ image: 'debian' })
  // #region service
  const unit = `
    [Service]
    ExecStart=/usr/sbin/sshd -D -p 2222
    Restart=always`
  await vm.ssh('cat >/etc/systemd/system/ssh-2222.service', { stdin: unit })
  await vm.ssh`systemctl daemon-reload && systemctl start ssh-2222`
  await vm.waitFor.all([checks.unitIsActive('ssh-2222'), checks.portListens(2222)])

  await vm.ssh`systemctl kill --signal KILL ssh-2222`
  await vm.waitFor.command('systemctl show ssh-2222 -P NRestarts', { prints: /^[1-9]/ })
  await vm.waitFor.all([checks.unitIsActive('ssh-2222'), checks.portListens(2222)])
  // #endregion

  // #region loss
  await vm.exec('modprobe sch_netem && tc qdisc add dev eth0 root netem loss 30% delay 50ms')
  const { stdout } = await vm.ssh`ping -c 30 -i 0.2 10.0.2.2 || true`
  await vm.exec('tc qdisc del dev eth0 root')
  expect(stdout).toMatch(/[1-9]\d*(\.\d+)?% packet loss/)
  // #endregion
}, 600_000)
