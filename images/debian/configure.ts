import {
  BLACKLISTED_MODULES,
  DISABLED_UNITS,
  ENABLED_UNITS,
  HOST_KEY,
  MASKED_GENERATORS,
  MASKED_UNITS,
} from './units.js'

/** Script that runs in the system after packages and files are installed. */
export const CONFIGURE = `set -e
systemctl -q disable ${DISABLED_UNITS.join(' ')}
systemctl -q enable ${ENABLED_UNITS.join(' ')}
systemctl -q mask ${MASKED_UNITS.join(' ')}
mkdir -p /etc/systemd/system-generators
for generator in ${MASKED_GENERATORS.join(' ')}; do ln -sf /dev/null "/etc/systemd/system-generators/$generator"; done
for module in ${BLACKLISTED_MODULES.join(' ')}; do echo "blacklist $module"; done >/etc/modprobe.d/withvm.conf
# The key of the run is installed elsewhere.
ln -sf /dev/null /etc/tmpfiles.d/provision.conf
rm -f /etc/ssh/ssh_host_* ${HOST_KEY} /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap
# Logins of root are not registered with logind, which would start a second systemd for each; those of other users are.
sed -i 's/^session.*pam_systemd.so/session [success=1 default=ignore] pam_succeed_if.so quiet uid = 0\\n&/' /etc/pam.d/common-session
`
