"""The model and nothing else: configuration, encoders, fusion, heads, losses."""

from dbeta.model.config import DBetaConfig
from dbeta.model.modeling import DBetaModel, DBetaOutput

__all__ = ["DBetaConfig", "DBetaModel", "DBetaOutput"]
