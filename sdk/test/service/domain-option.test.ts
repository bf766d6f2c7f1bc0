import { domainOption } from '@mesobus/sdk/service';
import test from 'ava';

const option = domainOption('where it runs');

test("a domain is written as Mesos' --domain, as text or nested in a file", (t) => {
  const written = { fault_domain: { region: { name: 'eu' }, zone: { name: 'eu-1' } } };
  const value = { faultDomain: { region: { name: 'eu' }, zone: { name: 'eu-1' } } };
  t.deepEqual(option.read(JSON.stringify(written)), { ok: true, value });
  t.deepEqual(option.read(written), { ok: true, value });
  t.true(option.optional);
});

for (const wrong of [
  'eu',
  '{}',
  '{"fault_domain": {"region": {"name": "eu"}}}',
  '{"fault_domain": {"region": {"name": ""}, "zone": {"name": "z"}}}',
  '{"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "z"}, "rack": {}}}',
]) {
  test(`'${wrong}' is no domain`, (t) => {
    t.false(option.read(wrong).ok);
  });
}
