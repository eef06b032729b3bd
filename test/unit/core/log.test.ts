import { describe, expect, test } from 'vitest';
import { createLog, createMetrics, silentLog } from '#core';

describe('what is loaded when first used', () => {
  test('the silent logger takes every call a logger takes, and its children too', () => {
    const log = silentLog.child({ a: 1 }).child({ b: 2 });
    for (const level of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[level]({ x: 1 }, 'text');
    expect(log.isLevelEnabled('error')).toBe(false);
  });

  test('a real logger has its level', () => {
    expect(createLog('t', 'error', 2).isLevelEnabled('info')).toBe(false);
  });

  test('each set of metrics has a registry of its own', async () => {
    const [a, b] = [createMetrics(), createMetrics()];
    a.counter('tsnet_test_total', 'help', ['kind']).inc({ kind: 'x' });
    expect(await a.registry.metrics()).toContain('tsnet_test_total{kind="x"} 1');
    expect(await b.registry.metrics()).not.toContain('tsnet_test_total');
  });
});
