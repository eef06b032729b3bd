import { expect, test } from 'vitest';
import { createPolicyEngine, DEFAULT_RENDER_CONFIG, printChain, printNftRules, type RenderConfig } from '#policy';
import { resource, updateOf } from '../../../scenarios/index.ts';

/** The log statement of a policy's second rule. */
function logged(kind: string, id: string, log: RenderConfig['log'], tier = 'default') {
  const engine = createPolicyEngine({ node: 'n', config: { ...DEFAULT_RENDER_CONFIG, log } });
  const endpoint = {
    ...{ orchestrator: 'k8s', node: 'n', pod: 'w', endpoint: 'eth0', interfaceName: 'cali1' },
    ipNetworks: ['10.65.0.1/32'],
  };
  engine.onUpdate(updateOf(resource('Tier', tier, { order: 1 })));
  engine.onUpdate(updateOf(resource('WorkloadEndpoint', 'prod/n-k8s-w-eth0', endpoint)));
  const ingress = [{ action: 'Allow', protocol: 'TCP' }, { action: 'Log' }];
  engine.onUpdate(updateOf(resource(kind as 'NetworkPolicy', id, { tier, types: ['Ingress'], ingress })));
  const found = engine.flush().chains.find((c) => c.family === 4 && c.name.startsWith('cali-pi-'))!.chain!;
  const iptables = printChain(found, 4)[1].text;
  const nft = printNftRules('filter', found.name, found.rules, 4)[1].text;
  return {
    iptables: /prefix "([^"]*)"/.exec(iptables)?.[1],
    nft: /prefix "([^"]*)"/.exec(nft)?.[1],
    target: /-j (\S+)/.exec(iptables)?.[1],
  };
}

test('a log line names tier, policy and rule; where there is no room for all, the number of the rule stays', () => {
  expect(logged('NetworkPolicy', 'prod/allow-web', { prefix: 'calico-packet' })).toEqual({
    iptables: 'calico-packet default/pro 1: ',
    nft: 'calico-packet default/prod/allow-web 1: ',
    target: 'LOG',
  });
  expect(logged('NetworkPolicy', 'prod/allow-web', { prefix: 'calico-packet', group: 3 })).toEqual({
    iptables: 'calico-packet default/prod/allow-web 1: ',
    nft: 'calico-packet default/prod/allow-web 1: ',
    target: 'NFLOG',
  });
});

test('a policy that has its tier in its name is named once', () => {
  const { nft } = logged('GlobalNetworkPolicy', 'security.block', { prefix: 'calico-packet' }, 'security');
  expect(nft).toBe('calico-packet security.block 1: ');
});

test('a prefix with words to fill in says just those', () => {
  const { iptables } = logged('NetworkPolicy', 'prod/allow-web', { prefix: '%k %p in %t, 100%' });
  expect(iptables).toBe('NetworkPolicy prod/allow- 1: ');
  expect(logged('NetworkPolicy', 'prod/web', { prefix: '%n of %t' }).iptables).toBe('web of default 1: ');
});
