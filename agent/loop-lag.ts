import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Metrics } from '#core';

/** How late the event loop runs (invariant I9): what a keepalive or an endpoint would have had to wait. */
export class LoopLag {
  readonly #histogram: IntervalHistogram;
  /** Resolution of the underlying timer; subtracted, since an idle loop shows it as delay. */
  readonly #resolution = 10;

  constructor(metrics: Metrics) {
    this.#histogram = monitorEventLoopDelay({ resolution: this.#resolution });
    this.#histogram.enable();
    metrics.gauge(
      'tsnet_loop_lag_seconds',
      'Event loop delay since the last scrape, by percentile',
      ['percentile'],
      (gauge) => {
        const { p50, p99 } = this.milliseconds();
        gauge.set({ percentile: '50' }, p50 / 1000);
        gauge.set({ percentile: '99' }, p99 / 1000);
        this.#histogram.reset();
      },
    );
  }
  /** Since the last scrape of the metric. */
  milliseconds(): { p50: number; p99: number } {
    const at = (percentile: number) => {
      const value = this.#histogram.percentile(percentile) / 1e6 - this.#resolution;
      return Number.isFinite(value) ? Math.max(0, Math.round(value * 100) / 100) : 0;
    };
    return { p50: at(50), p99: at(99) };
  }
  stop(): void {
    this.#histogram.disable();
  }
}
