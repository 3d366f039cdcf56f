from aethersdk import StateHook


class Notify(StateHook):
    def post_state_finalize(self, report):
        self.logger.info("the pipeline %s", report["status"])
